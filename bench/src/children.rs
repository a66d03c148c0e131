//! Where the processes of tasks report: a loopback address that [`bench-child`](../bin/bench-child.rs) connects to.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::process::binary;

/// The address.
#[derive(Debug)]
pub struct Children {
    listener: TcpListener,
    address: SocketAddr,
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
        Ok(Self { listener, address })
    }

    /// The `command` of a task whose process reports here.
    ///
    /// # Errors
    /// The program has not been built.
    pub fn command(&self) -> Result<String> {
        Ok(format!("{} {}", binary("bench-child")?.display(), self.address))
    }

    /// The next process.
    ///
    /// # Errors
    /// Its connection breaks.
    pub async fn next(&mut self) -> Result<Reported> {
        let (stream, _) = self.listener.accept().await?;
        let at = Instant::now();
        let mut stream = BufReader::new(stream);
        let mut task = String::new();
        stream.read_line(&mut task).await?;
        Ok(Reported { task: task.trim_end().to_owned(), at, stream })
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
