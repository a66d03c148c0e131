//! Where the processes of tasks report: a loopback address that [`bench-child`](../bin/bench-child.rs) connects to.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::process::binary;

/// The address. Each process is noticed at once, whenever it is asked for.
#[derive(Debug)]
pub struct Children {
    address: SocketAddr,
    reported: mpsc::UnboundedReceiver<Reported>,
    _stop: DropGuard,
}

/// A process that has reported. It ends when this is dropped.
#[derive(Debug)]
pub struct Reported {
    /// Its task.
    pub task: String,
    /// When it reported.
    pub at: Instant,
    stream: BufReader<TcpStream>,
}

impl Children {
    /// Listens on a free port.
    ///
    /// # Errors
    /// There is none.
    pub async fn listen() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (sender, reported) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(notice(listener, sender)));
        Ok(Self { address, reported, _stop: stop.drop_guard() })
    }

    /// The `command` of a task whose process reports here.
    ///
    /// # Errors
    /// The program has not been built.
    pub fn command(&self) -> Result<String> {
        Ok(format!("{} {}", binary("bench-child")?.display(), self.address))
    }

    /// The next process, in the order in which they came.
    ///
    /// # Errors
    /// The address is gone.
    pub async fn next(&mut self) -> Result<Reported> {
        self.reported.recv().await.context("nobody listens any more")
    }
}

async fn notice(listener: TcpListener, sender: mpsc::UnboundedSender<Reported>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (at, sender) = (Instant::now(), sender.clone());
        // A process that says nothing keeps no other one waiting.
        tokio::spawn(async move {
            let (mut stream, mut task) = (BufReader::new(stream), String::new());
            if stream.read_line(&mut task).await.is_ok_and(|count| count > 0) {
                // Whoever asked may be through.
                sender.send(Reported { task: task.trim_end().to_owned(), at, stream }).ok();
            }
        });
    }
}

impl Reported {
    /// Waits until the process is dead.
    ///
    /// # Errors
    /// The connection breaks otherwise than by its end.
    pub async fn dead(mut self) -> Result<Instant> {
        match self.stream.read_to_end(&mut Vec::new()).await {
            Ok(_) => {}
            // A process that is killed with something unread.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn a_process_is_noticed_when_it_comes_and_not_when_it_is_asked_for() {
        let mut children = Children::listen().await.unwrap();
        let silent = TcpStream::connect(children.address).await.unwrap();
        let mut child = TcpStream::connect(children.address).await.unwrap();
        child.write_all(b"t-1\n").await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let asked = Instant::now();
        let reported = children.next().await.unwrap();
        assert_eq!(reported.task, "t-1");
        assert!(asked - reported.at >= Duration::from_millis(100));
        drop((child, silent));
        reported.dead().await.unwrap();
    }
}
