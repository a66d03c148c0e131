use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Serves what `answer` says to each request's head, and gives the address and the heads.
pub(in super::super) async fn fake(
    answer: impl Fn(&str) -> String + Send + 'static,
) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let heads = Arc::<Mutex<Vec<String>>>::default();
    let seen = Arc::clone(&heads);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            let answer = answer(&head);
            seen.lock().unwrap().push(head);
            if answer.is_empty() {
                // Silence: the connection stays open.
                tokio::spawn(async move { stream.read_u8().await });
                continue;
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (address, heads)
}

pub(in super::super) fn says(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

const PATH: &str = "latest/meta-data/spot/instance-action";

#[tokio::test]
async fn a_token_is_fetched_once_and_again_when_it_is_refused() {
    let refused = Arc::new(Mutex::new(false));
    let refuses = Arc::clone(&refused);
    let (address, heads) = fake(move |head| match head {
        put if put.starts_with("PUT /latest/api/token ") => says("200 OK", "t0ken=="),
        _ if *refuses.lock().unwrap() => says("401 Unauthorized", ""),
        get if get.starts_with(&format!("GET /{PATH} ")) => says("200 OK", "words"),
        _ => says("404 Not Found", "<html>"),
    })
    .await;
    let mut imds = Imds::new(&format!("{address}/"));
    assert_eq!(imds.get(PATH).await.unwrap().as_deref(), Some("words"));
    assert_eq!(imds.get("latest/absent").await.unwrap(), None);
    let requests = || heads.lock().unwrap().clone();
    assert_eq!(requests().len(), 3, "one token for both");
    assert!(requests()[0].contains("x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n"), "{}", requests()[0]);
    assert!(requests()[1].contains("x-aws-ec2-metadata-token: t0ken==\r\n"), "{}", requests()[1]);

    *refused.lock().unwrap() = true;
    assert!(matches!(imds.get(PATH).await, Err(ImdsError::Refused { path: PATH, .. })));
    *refused.lock().unwrap() = false;
    assert!(imds.get(PATH).await.unwrap().is_some());
    assert!(requests()[4].starts_with("PUT "), "a new token");
}

#[tokio::test]
async fn nothing_is_waited_for_and_nothing_endless_is_read() {
    let begun = Instant::now();
    let (silent, _) = fake(|_| String::new()).await;
    assert!(matches!(Imds::new(&silent).get(PATH).await, Err(ImdsError::Silent)));
    assert!(begun.elapsed() < LIMIT * 2);

    let (endless, _) = fake(|head| match head.starts_with("PUT") {
        true => says("200 OK", "t"),
        false => says("200 OK", &"x".repeat(LONGEST_BODY_BYTES + 1)),
    })
    .await;
    assert!(matches!(Imds::new(&endless).get(PATH).await, Err(ImdsError::Garbage(PATH))));
    for token in ["", "a\nb", "\u{7f}"] {
        let (garbage, _) = fake(move |_| says("200 OK", token)).await;
        assert!(matches!(Imds::new(&garbage).get(PATH).await, Err(ImdsError::Garbage(TOKEN))), "{token:?}");
    }
    // The service's first version alone, or switched off.
    let (first, _) = fake(|_| says("404 Not Found", "")).await;
    assert!(matches!(Imds::new(&first).get(PATH).await, Err(ImdsError::Refused { path: TOKEN, .. })));
    for nowhere in ["http://127.0.0.1:1", "https://127.0.0.1:1", "nonsense", ""] {
        assert!(Imds::new(nowhere).get(PATH).await.is_err(), "{nowhere}");
    }
}
