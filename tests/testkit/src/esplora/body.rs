//! The bodies of responses: those with an end, and those without.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use tokio::time::{interval, Interval};

/// How often a byte of a dripping body comes.
const DRIP: Duration = Duration::from_millis(50);

pub(super) enum Body {
    Whole(Full<Bytes>),
    Endless,
    Drip(Interval),
}

impl Body {
    pub fn whole(bytes: Vec<u8>) -> Body {
        Body::Whole(Full::new(bytes.into()))
    }

    pub fn endless() -> Body {
        Body::Endless
    }

    pub fn drip() -> Body {
        Body::Drip(interval(DRIP))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        const ZEROS: [u8; 16 * 1024] = [b'0'; 16 * 1024];
        let bytes = match self.get_mut() {
            Body::Whole(whole) => return Pin::new(whole).poll_frame(context),
            Body::Endless => Bytes::from_static(&ZEROS),
            Body::Drip(ticks) => {
                std::task::ready!(ticks.poll_tick(context));
                Bytes::from_static(&ZEROS[..1])
            }
        };
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Whole(whole) => whole.is_end_stream(),
            Body::Endless | Body::Drip(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(whole) => whole.size_hint(),
            Body::Endless | Body::Drip(_) => SizeHint::default(),
        }
    }
}
