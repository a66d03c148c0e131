//! What a process prints, read and understood.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, ready};

use stageline::protocol::outcome::Failure;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::watch;
use tracing::warn;

use crate::child::capture::Capture;
use crate::engines::{Reader, Stream};
use crate::progress::Sink;

const CHUNK_BYTES: usize = 64 * 1024;

thread_local! {
    /// Of each thread, not of each pipe: of a thousand attempts most are silent at any time.
    static CHUNK: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK_BYTES].into_boxed_slice());
}

/// Both streams and who understands them.
pub(super) struct Output {
    pub reader: Option<Box<dyn Reader>>,
    pub stdout: Capture,
    pub stderr: Capture,
    pub sink: Sink,
    pub stops_on_divergence: bool,
    /// Becomes a failure when the engine should not go on.
    pub diverged: watch::Sender<Option<Failure>>,
}

/// Reads a stream to its end.
pub(super) async fn pump(pipe: Option<impl AsyncRead + Unpin>, stream: Stream, output: Arc<Mutex<Output>>) {
    let Some(mut pipe) = pipe else { return };
    loop {
        // What is read is understood before anything else is polled on this thread, so all pipes share its chunk.
        let read = poll_fn(|context| {
            CHUNK.with_borrow_mut(|chunk| {
                let mut chunk = ReadBuf::new(chunk);
                let read = ready!(Pin::new(&mut pipe).poll_read(context, &mut chunk));
                if let Err(error) = read {
                    warn!(%error, ?stream, "output not read any further");
                    chunk.clear();
                }
                understand(chunk.filled(), stream, &output);
                Poll::Ready(chunk.filled().len())
            })
        });
        if read.await == 0 {
            return;
        }
        // A flood keeps its pipe full: without this, the heartbeat would have to wait for many chunks.
        tokio::task::yield_now().await;
    }
}

/// Takes what was read from a stream; nothing is its end.
fn understand(bytes: &[u8], stream: Stream, output: &Mutex<Output>) {
    let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
    let Output { reader, stdout, stderr, sink, stops_on_divergence, diverged } = &mut *output;
    let capture = if stream == Stream::Stdout { stdout } else { stderr };
    let mut each_line = |line: &str| {
        if let Some(reader) = reader {
            reader.line(stream, line).into_iter().for_each(|report| sink.report(report));
            if *stops_on_divergence && let Some(failure) = reader.diverged() {
                // The first reason stands: what follows is more of the same.
                if diverged.borrow().is_none() {
                    diverged.send_replace(Some(failure));
                }
            }
        }
    };
    if bytes.is_empty() {
        capture.end(&mut each_line);
    } else {
        capture.take(bytes, &mut each_line);
    }
}
