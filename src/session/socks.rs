//! Just enough of SOCKS5 (RFC 1928) to reach an onion address through Tor.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Has the proxy at the other end of `stream` connect to a host by its name. After this the stream
/// leads there.
pub(super) async fn connect(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    host: &str,
    port: u16,
) -> io::Result<()> {
    let length = u8::try_from(host.len()).map_err(|_| refused("the name is too long"))?;
    stream.write_all(&[VERSION, 1, NO_AUTHENTICATION]).await?;
    let mut method = [0; 2];
    stream.read_exact(&mut method).await?;
    if method != [VERSION, NO_AUTHENTICATION] {
        return Err(refused("the proxy wants a password"));
    }
    let mut request = vec![VERSION, CONNECT, 0, NAME, length];
    request.extend(host.as_bytes());
    request.extend(port.to_be_bytes());
    stream.write_all(&request).await?;
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let [version, reply, _, kind] = head;
    if version != VERSION || reply != 0 {
        return Err(refused("the proxy does not get there"));
    }
    // Where the proxy connects from: of no interest, but it has to be read.
    let length = match kind {
        IPV4 => 4,
        IPV6 => 16,
        NAME => stream.read_u8().await?,
        _ => return Err(refused("the proxy speaks another language")),
    };
    let mut bound = [0; 255 + 2];
    stream
        .read_exact(&mut bound[..usize::from(length) + 2])
        .await?;
    Ok(())
}

fn refused(why: &str) -> io::Error {
    io::Error::other(why.to_owned())
}
