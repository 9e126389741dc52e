//! What the proxy is told, and what its answers mean.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::session::socks::connect;

async fn answered(answers: &'static [u8]) -> (std::io::Result<()>, Vec<u8>) {
    let (mut ours, mut proxy) = tokio::io::duplex(1024);
    proxy.write_all(answers).await.unwrap();
    let result = connect(&mut ours, "peer.onion", 9735).await;
    drop(ours);
    let mut asked = Vec::new();
    proxy.read_to_end(&mut asked).await.unwrap();
    (result, asked)
}

fn block_on<T>(future: impl std::future::Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future)
}

#[test]
fn a_proxy_is_asked_for_a_name_and_a_port() {
    let accepted = &[5, 0, 5, 0, 0, 1, 127, 0, 0, 1, 0x12, 0x34];
    let (result, asked) = block_on(answered(accepted));
    result.unwrap();
    let wanted = [&[5, 1, 0, 5, 1, 0, 3, 10][..], b"peer.onion", &[0x26, 0x07]].concat();
    assert_eq!(asked, wanted);
}

#[test]
fn a_proxy_that_refuses_or_talks_nonsense_is_an_error() {
    let bad: [&[u8]; 5] = [
        &[5, 0xff],
        &[4, 0],
        &[5, 0, 5, 4, 0, 1, 0, 0, 0, 0, 0, 0],
        &[5, 0, 5, 0, 0, 9, 0, 0, 0, 0, 0, 0],
        &[5, 0, 4, 0, 0, 1, 0, 0, 0, 0, 0, 0],
    ];
    for answer in bad {
        let (result, _) = block_on(answered(answer));
        assert!(result.is_err(), "{answer:?}");
    }
}
