//! A Redis of its own.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::{Child, Command};

use crate::scope::Peers;

/// A running one; killed when dropped.
#[derive(Debug)]
pub struct Redis {
    _child: Child,
    port: u16,
}

impl Redis {
    /// Starts it on a free port of 127.0.0.1, in memory.
    ///
    /// # Errors
    /// It is not installed, or does not answer.
    pub async fn start(environment: &Peers) -> Result<Self> {
        let program = environment.redis().context("redis-server is not installed, and could not be")?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut child = Command::new(program)
            .env("LD_LIBRARY_PATH", environment.redis_libraries())
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        for _ in 0..100 {
            if tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok() {
                return Ok(Self { _child: child, port });
            }
            if let Some(status) = child.try_wait()? {
                bail!("redis-server ended: {status}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("redis-server does not answer on port {port}")
    }

    /// Its address.
    pub fn address(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}
