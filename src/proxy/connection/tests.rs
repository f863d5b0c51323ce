use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use super::{Connection, Fault, HOLD, READ_AHEAD};
use crate::policy::head::Framing;
use crate::proxy::clocks::Silence;
use crate::proxy::listener::ListenerInfo;

async fn pair() -> (TcpStream, Arc<Connection>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (socket, peer) = listener.accept().await.unwrap();
    let connection = Connection::new(socket, peer, Arc::new(ListenerInfo::for_tests()));
    connection.wire().arrive();
    (client, connection)
}

async fn read(connection: &Connection, room: usize) -> std::io::Result<Vec<u8>> {
    let mut space = vec![0; room];
    let mut buf = ReadBuf::new(&mut space);
    poll_fn(|cx| connection.wire().poll_read(cx, &mut buf)).await?;
    Ok(buf.filled().to_vec())
}

async fn fill(connection: &Connection, bytes: usize) {
    while connection.wire().input.len() < bytes {
        poll_fn(|cx| connection.wire().poll_fill(cx)).await.unwrap();
    }
}

#[tokio::test]
async fn small_writes_are_held_and_leave_together() {
    let (mut client, connection) = pair().await;
    for piece in [&b"HTTP/1.1 200 OK\r\n\r\n"[..], b"body"] {
        poll_fn(|cx| connection.wire().poll_write(cx, piece)).await.unwrap();
    }
    assert!(connection.wire().holds_output());
    poll_fn(|cx| connection.wire().poll_flush(cx)).await.unwrap();
    let mut got = [0; 64];
    let count = client.read(&mut got).await.unwrap();
    assert_eq!(&got[..count], b"HTTP/1.1 200 OK\r\n\r\nbody");
    assert!(!connection.wire().holds_output());
}

#[tokio::test]
async fn a_large_write_takes_what_is_held_along_in_order() {
    let (mut client, connection) = pair().await;
    let large = vec![b'x'; HOLD + 1];
    poll_fn(|cx| connection.wire().poll_write(cx, b"head")).await.unwrap();
    let count = poll_fn(|cx| connection.wire().poll_write(cx, &large)).await.unwrap();
    let mut got = vec![0; 4 + count];
    client.read_exact(&mut got).await.unwrap();
    assert!(got.starts_with(b"headxxx") && got[4..].iter().all(|byte| *byte == b'x'));
}

#[tokio::test]
async fn a_body_of_known_length_never_yields_bytes_of_the_next_request() {
    let (mut client, connection) = pair().await;
    client.write_all(b"HEADhe").await.unwrap();
    fill(&connection, 6).await;
    let taken = connection.wire().begin(Framing::Length(5), 0, 4);
    assert_eq!(&taken[..], b"HEADhe");
    client.write_all(b"lloNEXT").await.unwrap();
    let mut body = Vec::new();
    while body.len() < 3 {
        body.extend(read(&connection, 64).await.unwrap());
    }
    assert_eq!(body, b"llo");
    assert!(connection.wire().body_done());
    fill(&connection, 4).await;
    assert_eq!(&connection.wire().input[..], b"NEXT");
}

#[tokio::test]
async fn a_chunked_body_ends_where_its_last_chunk_does() {
    let (mut client, connection) = pair().await;
    client.write_all(b"HEAD3\r\nabc\r\n0\r\n\r\nNEXT").await.unwrap();
    fill(&connection, 21).await;
    assert_eq!(&connection.wire().begin(Framing::Chunked, 0, 4)[..], b"HEAD3\r\nabc\r\n0\r\n\r\n");
    assert!(connection.wire().body_done());
    assert_eq!(&connection.wire().input[..], b"NEXT");
}

#[tokio::test]
async fn a_chunked_body_that_could_be_read_in_two_ways_is_not_passed_on() {
    let (mut client, connection) = pair().await;
    client.write_all(b"HEAD").await.unwrap();
    fill(&connection, 4).await;
    connection.wire().begin(Framing::Chunked, 0, 4);
    client.write_all(b"\r\nabc\r\n0\r\n\r\n").await.unwrap();
    assert!(read(&connection, 64).await.is_err());
    assert_eq!(connection.wire().clocks.fault(), Some(Fault::MalformedBody));
}

#[tokio::test]
async fn what_pingora_says_before_our_phases_have_the_request_is_not_sent() {
    let (_client, connection) = pair().await;
    connection.wire().begin(Framing::None, 0, 0);
    poll_fn(|cx| connection.wire().poll_write(cx, b"HTTP/1.1 400 Bad Request")).await.unwrap();
    assert!(!connection.wire().holds_output());
}

#[tokio::test]
async fn a_pipelined_request_stays_behind_when_the_first_is_taken() {
    let (mut client, connection) = pair().await;
    client.write_all(b"ONETWO").await.unwrap();
    fill(&connection, 6).await;
    assert_eq!(&connection.wire().begin(Framing::None, 0, 3)[..], b"ONE");
    assert_eq!(&connection.wire().input[..], b"TWO");
}

#[tokio::test]
async fn a_client_that_sends_far_ahead_is_heard_leaving_and_nothing_of_it_is_lost() {
    let (mut client, connection) = pair().await;
    connection.wire().begin(Framing::None, 0, 0);
    client.write_all(&vec![b'x'; 3 * READ_AHEAD]).await.unwrap();
    while !connection.wire().is_full() {
        let mut space = [0; 1];
        let mut buf = ReadBuf::new(&mut space);
        let read = poll_fn(|cx| Poll::Ready(connection.wire().poll_read(cx, &mut buf))).await;
        assert!(read.is_pending());
        tokio::task::yield_now().await;
    }
    assert!(!poll_fn(|cx| Poll::Ready(connection.wire().has_left(cx))).await);
    drop(client);
    while !poll_fn(|cx| Poll::Ready(connection.wire().has_left(cx))).await {
        tokio::task::yield_now().await;
    }
    fill(&connection, 3 * READ_AHEAD).await;
}

#[tokio::test]
async fn the_clients_end_is_seen_while_nothing_is_to_be_read() {
    let (client, connection) = pair().await;
    connection.wire().begin(Framing::None, 0, 0);
    drop(client);
    assert_eq!(read(&connection, 1).await.unwrap(), b"");
    assert!(connection.wire().ended());
}

#[tokio::test]
async fn a_fault_reaches_the_reader_but_lets_the_edge_tell_the_client_about_its_upstream() {
    let (_client, connection) = pair().await;
    connection.wire().clocks.fail(Fault::UpstreamSilent(Silence::FirstByte));
    assert!(read(&connection, 1).await.is_err());
    assert!(poll_fn(|cx| connection.wire().poll_write(cx, b"HTTP/1.1 504")).await.is_ok());
    connection.wire().clocks.fail(Fault::ClientStalled);
    assert!(poll_fn(|cx| connection.wire().poll_write(cx, b"x")).await.is_err());
}

#[tokio::test]
async fn so_many_answers_of_a_connection_are_compressed_at_once_and_no_more() {
    let (_client, connection) = pair().await;
    let taken = (0..100).filter(|_| connection.may_compress()).count();
    assert_eq!(taken, super::MOST_COMPRESSED);
    connection.compressed();
    assert!(connection.may_compress() && !connection.may_compress(), "one is over, one may begin");
}
