//! One request and its answer, within a time and a size.

use std::time::Duration;

use ureq::http::{Response, StatusCode, Uri};
use ureq::{Agent, Body, Error, Proxy};

use super::{BadAddress, ChainError};

/// How long an idle connection is kept. On a phone it is dead soon after, and nobody says so.
const IDLE: Duration = Duration::from_secs(5);
/// The bytes that the head of an answer may have.
const MAX_HEAD: usize = 64 * 1024;
/// The bytes of a refusal's reason that are looked at.
const MAX_REASON: u64 = 4 * 1024;

pub(super) struct Http {
    agent: Agent,
    base: String,
}

/// What one request is given.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// From start to end: names, connection, answer.
    pub time: Duration,
    /// The bytes of the answer.
    pub bytes: u64,
}

/// What comes of handing something over.
pub(super) enum Handed {
    Taken(Vec<u8>),
    /// With the words of the server.
    Refused(String),
}

impl Http {
    pub fn new(url: &str, proxy: Option<&str>) -> Result<Http, BadAddress> {
        let base = url.trim_end_matches('/').to_owned();
        let parsed: Uri = base.parse().map_err(|_| BadAddress("chain source"))?;
        let known = matches!(parsed.scheme_str(), Some("http" | "https"));
        if !known || parsed.host().is_none_or(str::is_empty) || parsed.query().is_some() {
            return Err(BadAddress("chain source"));
        }
        let proxy = proxy.map(Proxy::new).transpose();
        let proxy = proxy.map_err(|_| BadAddress("proxy"))?;
        // Who hides behind a proxy does not want to tell a name server whom it asks.
        if proxy.as_ref().is_some_and(Proxy::resolve_target) {
            return Err(BadAddress("proxy"));
        }
        let agent = Agent::config_builder()
            .proxy(proxy)
            .http_status_as_error(false)
            // Where a server sends us to is not where the person wanted to ask.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_response_header_size(MAX_HEAD)
            .max_idle_connections_per_host(1)
            .max_idle_age(IDLE)
            // Nobody needs to know which program asks.
            .user_agent("")
            .accept("")
            .build()
            .new_agent();
        Ok(Http { agent, base })
    }

    /// `None`: there is no such thing (404).
    pub fn get(&self, path: &str, limits: Limits) -> Result<Option<Vec<u8>>, ChainError> {
        let request = self.agent.get(format!("{}{path}", self.base));
        let request = request.config().timeout_global(Some(limits.time)).build();
        let answer = request.call().map_err(failed)?;
        match answer.status() {
            StatusCode::OK => body(answer, limits.bytes).map(Some),
            StatusCode::NOT_FOUND => Ok(None),
            other => Err(not_now(other)),
        }
    }

    pub fn post(&self, path: &str, text: &str, limits: Limits) -> Result<Handed, ChainError> {
        let request = self.agent.post(format!("{}{path}", self.base));
        let request = request.config().timeout_global(Some(limits.time)).build();
        let answer = request.send(text).map_err(failed)?;
        match answer.status() {
            StatusCode::OK => body(answer, limits.bytes).map(Handed::Taken),
            StatusCode::BAD_REQUEST => {
                let reason = body(answer, MAX_REASON)?;
                Ok(Handed::Refused(String::from_utf8_lossy(&reason).into()))
            }
            other => Err(not_now(other)),
        }
    }
}

fn body(mut answer: Response<Body>, max_bytes: u64) -> Result<Vec<u8>, ChainError> {
    let body = answer.body_mut().with_config().limit(max_bytes);
    body.read_to_vec().map_err(failed)
}

/// Too many requests, a server in trouble, and the page that a hotel's network shows to strangers: all of
/// this passes.
fn not_now(status: StatusCode) -> ChainError {
    ChainError::unreachable(format!("HTTP status {}", status.as_u16()))
}

/// The error's own words are not used: they may name the server.
fn failed(error: Error) -> ChainError {
    match error {
        Error::BodyExceedsLimit(max) => {
            ChainError::invalid(format!("an answer of more than {max} bytes"))
        }
        Error::Protocol(_) | Error::Http(_) | Error::LargeResponseHeader(..) => {
            ChainError::invalid("an answer that is not HTTP")
        }
        Error::Timeout(_) => ChainError::unreachable("no answer in time"),
        Error::HostNotFound => ChainError::unreachable("no such host"),
        Error::Tls(_) | Error::Rustls(_) => ChainError::unreachable("no secure connection"),
        Error::Io(error) => ChainError::unreachable(error.kind().to_string()),
        _ => ChainError::unreachable("no connection"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_be_used_is_refused_when_it_is_given() {
        for url in [
            "",
            "blockstream.info/api",
            "ftp://blockstream.info",
            "https://",
            "https://blockstream.info/api?key=1",
            "https://block stream.info",
        ] {
            assert_eq!(
                Http::new(url, None).err(),
                Some(BadAddress("chain source")),
                "{url}"
            );
        }
        // The last two have the name of the server looked up here.
        for proxy in [
            "gopher://localhost",
            "socks5://localhost",
            "socks4://localhost",
        ] {
            let http = Http::new("https://blockstream.info/api/", Some(proxy));
            assert_eq!(http.err(), Some(BadAddress("proxy")), "{proxy}");
        }
        for proxy in ["socks5h://127.0.0.1:9050", "http://127.0.0.1:8118"] {
            let http = Http::new("https://blockstream.info/api/", Some(proxy)).ok();
            assert_eq!(
                http.map(|http| http.base).as_deref(),
                Some("https://blockstream.info/api")
            );
        }
    }
}
