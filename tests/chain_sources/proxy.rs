//! A server behind a SOCKS proxy: the proxy alone learns its name.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;

use bitcoin::Network;
use ldk_peer_storage::recovery::chain::esplora::{EsploraConfig, EsploraSource};
use ldk_peer_storage::recovery::chain::ChainSource;

use crate::Stage;

/// Resolved by nobody.
const NAME: &str = "server.invalid";

#[test]
fn a_proxy_is_asked_for_the_server_by_its_name() {
    let stage = Stage::new();
    let server = stage.server.url().replace("http://", "");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let proxy = listener.local_addr().unwrap();
    let accepting = thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        serve(client, server.parse().unwrap()).unwrap()
    });

    let mut config = EsploraConfig::new(format!("http://{NAME}:3000"), Network::Regtest);
    config.proxy = Some(format!("socks5h://{proxy}"));
    let tip = EsploraSource::new(config).unwrap().tip();
    assert_eq!(tip.unwrap().height, stage.chain.height());
    assert_eq!(accepting.join().unwrap(), (NAME.to_owned(), 3000));
}

/// SOCKS 5 (RFC 1928) without authentication, for one connection by name, which leads to `server`.
fn serve(mut client: TcpStream, server: SocketAddr) -> io::Result<(String, u16)> {
    let [version, methods] = take(&mut client)?;
    assert_eq!(version, 5);
    let mut offered = vec![0; methods as usize];
    client.read_exact(&mut offered)?;
    client.write_all(&[5, 0])?;

    let [version, connect, _, kind, length] = take(&mut client)?;
    assert_eq!((version, connect, kind), (5, 1, 3), "a connection by name");
    let mut name = vec![0; length as usize];
    client.read_exact(&mut name)?;
    let port = u16::from_be_bytes(take(&mut client)?);
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;

    let mut server = TcpStream::connect(server)?;
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(std::net::Shutdown::Both);
    });
    io::copy(&mut server, &mut client)?;
    Ok((String::from_utf8_lossy(&name).into(), port))
}

fn take<const N: usize>(stream: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}
