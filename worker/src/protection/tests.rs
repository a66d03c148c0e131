use stageline::At;
use stageline::protocol::command::Command;
use stageline::task::Attempt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;
use crate::acknowledge::Handle;

/// An agent that tells of each request's first line and body, and answers with what `answer` says.
async fn agent(
    answer: impl Fn(&str) -> Option<String> + Send + 'static,
) -> (Agent, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/api/1", listener.local_addr().unwrap());
    let (sender, asked) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap().to_lowercase();
            let length = head.split_once("content-length: ").unwrap().1;
            let mut body = vec![0; length.split_once('\r').unwrap().0.parse().unwrap()];
            stream.read_exact(&mut body).await.unwrap();
            let body = String::from_utf8(body).unwrap();
            let answer = answer(&body);
            sender.send(format!("{} {body}", head.lines().next().unwrap())).unwrap();
            match answer {
                Some(answer) => stream.write_all(answer.as_bytes()).await.unwrap(),
                // Silence: the connection stays open.
                None => drop(tokio::spawn(async move { stream.read_u8().await })),
            }
        }
    });
    (Agent::of(ScaleInProtection::Auto, |_| Some(address.clone())).unwrap(), asked)
}

fn obeys(body: &str) -> Option<String> {
    let on = body.contains("true");
    let said = format!(r#"{{"protection":{{"ProtectionEnabled":{on},"TaskArn":"a"}}}}"#);
    Some(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{said}", said.len()))
}

fn command() -> Command {
    Command::new("t".parse().unwrap(), Attempt(0))
}

fn begin(running: &Running) {
    let message = Handle { queue_url: "q".into(), receipt_handle: "r".into() };
    running.begin(&command(), At::from_millis(0), message);
}

const ON: &str =
    r#"put /api/1/task-protection/v1/state http/1.1 {"ExpiresInMinutes":2880,"ProtectionEnabled":true}"#;
const OFF: &str = r#"put /api/1/task-protection/v1/state http/1.1 {"ProtectionEnabled":false}"#;

#[tokio::test]
async fn a_worker_is_protected_from_its_first_task_in_hand_to_a_rest_after_its_last() {
    let (agent, mut asked) = agent(obeys).await;
    let (running, over) = (Arc::new(Running::default()), CancellationToken::new());
    let (here, end) = (Arc::clone(&running), over.clone());
    let rest = Duration::from_millis(150);
    let kept = tokio::spawn(async move { keep_asking(&agent, &here, rest, &end).await });
    begin(&running);
    assert_eq!(asked.recv().await.unwrap(), ON, "while it is still being claimed");
    let ended = Instant::now();
    running.end(&command().task_id);
    assert_eq!(asked.recv().await.unwrap(), OFF);
    assert!(ended.elapsed() >= rest);
    begin(&running);
    assert_eq!(asked.recv().await.unwrap(), ON);
    // It ends while something still runs: who waits for it has waited for the tasks.
    over.cancel();
    assert_eq!(asked.recv().await.unwrap(), OFF);
    kept.await.unwrap();
    assert!(asked.try_recv().is_err());
}

#[tokio::test]
async fn a_worker_that_never_had_a_task_asks_nobody() {
    let (agent, mut asked) = agent(obeys).await;
    let over = CancellationToken::new();
    over.cancel();
    keep_asking(&agent, &Running::default(), Duration::ZERO, &over).await;
    assert!(asked.try_recv().is_err());
}

#[tokio::test]
async fn an_agent_that_refuses_or_is_not_there_holds_nothing_up() {
    let (refusing, mut asked) = agent(|_| {
        Some("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned())
    })
    .await;
    let nobody = Agent::of(ScaleInProtection::Auto, |_| Some("http://127.0.0.1:1".to_owned())).unwrap();
    for agent in [refusing, nobody] {
        let (running, over) = (Running::default(), CancellationToken::new());
        begin(&running);
        let begun = Instant::now();
        let end = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            over.cancel();
        };
        tokio::join!(keep_asking(&agent, &running, Duration::ZERO, &over), end);
        assert!(begun.elapsed() < Duration::from_secs(2));
    }
    assert_eq!(asked.recv().await.unwrap(), ON);
    assert!(asked.try_recv().is_err(), "what was refused is not asked for again at once, nor taken back");
}
