//! A loopback address in front of an AWS endpoint, for workers that are processes of their own: what
//! they send can be held, refused or lost, and a test can act at the very moment of one request.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, anyhow, bail};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::http::uri::{Authority, Scheme};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::call::{Call, TARGET};
use super::control::Control;
use super::plan::{Fault, Plan};
use super::refusal;
use super::trigger::{Moment, Trigger};

/// A running proxy. Dropped, it stops listening and closes every connection.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    relay: Arc<Relay>,
    _stop: DropGuard,
}

/// What every connection shares.
#[derive(Debug)]
struct Relay {
    upstream: Authority,
    client: Client<HttpConnector, Full<Bytes>>,
    control: Control,
    armed: Mutex<Option<Armed>>,
    stop: CancellationToken,
}

struct Armed {
    trigger: Trigger,
    action: Pin<Box<dyn Future<Output = ()> + Send>>,
    done: oneshot::Sender<()>,
}

impl std::fmt::Debug for Armed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.trigger.fmt(f)
    }
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1, in front of `upstream`, such as `http://127.0.0.1:8000`.
    /// There is no plan yet: see [`Proxy::control`].
    ///
    /// # Errors
    /// `upstream` is no address, or no port can be had.
    pub async fn start(upstream: &str) -> Result<Self> {
        let upstream: Uri = upstream.parse().with_context(|| format!("{upstream} is no address"))?;
        let upstream = upstream.authority().context("the address has no host")?.clone();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let stop = CancellationToken::new();
        let relay = Arc::new(Relay {
            upstream,
            client: Client::builder(TokioExecutor::new()).build(connector),
            control: Control::new(Plan::none()),
            armed: Mutex::new(None),
            stop: stop.clone(),
        });
        relay.spawn(accept(listener, Arc::clone(&relay)));
        Ok(Self { address, relay, _stop: stop.drop_guard() })
    }

    /// The address to give to a worker as `AWS_ENDPOINT_URL`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Plan, hold and counts. A request that its client leaves behind while it is held is sent after the
    /// release all the same, as by a network that was slow; a receive is not.
    pub fn control(&self) -> &Control {
        &self.relay.control
    }

    /// Runs `action` at the first request that matches, then closes its connection without an answer.
    /// The plan does not touch that request. Arming again replaces what was armed.
    ///
    /// What is returned resolves when `action` is through; to an error when that cannot happen any more.
    pub fn arm(
        &self,
        trigger: Trigger,
        action: impl Future<Output = ()> + Send + 'static,
    ) -> oneshot::Receiver<()> {
        let (done, fired) = oneshot::channel();
        self.relay.set_armed(Some(Armed { trigger, action: Box::pin(action), done }));
        fired
    }

    /// Forgets what was armed and did not happen.
    pub fn disarm(&self) {
        self.relay.set_armed(None);
    }
}

async fn accept(listener: TcpListener, relay: Arc<Relay>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                relay.spawn(connection(stream, Arc::clone(&relay)));
            }
            // The connection was gone before it was taken; the next one is another.
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

async fn connection(stream: TcpStream, relay: Arc<Relay>) {
    stream.set_nodelay(true).ok();
    let service = service_fn(|request| serve(Arc::clone(&relay), request));
    // It ends by an error whenever an answer is lost on purpose.
    http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
}

/// An error closes the connection without an answer.
async fn serve(relay: Arc<Relay>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let call = Call::of(parts.headers.get(TARGET).and_then(|target| target.to_str().ok()));
    // This future ends with the client's connection. What a client has sent takes effect even if the client
    // is killed meanwhile; a receive is given up with its client, as the embedded SQS does: otherwise it
    // would take messages for nobody as long as it polls.
    let is_receive = call.operation == "ReceiveMessage";
    let handled = Arc::clone(&relay).handle(call, parts, body);
    match is_receive {
        true => handled.await,
        false => relay.spawn(handled).await?.context("the proxy has stopped")?,
    }
}

impl Relay {
    async fn handle(self: Arc<Self>, call: Call, parts: Parts, body: Bytes) -> Result<Response<Full<Bytes>>> {
        self.control.pass().await;
        if let Some(armed) = self.take_armed(&call, &body) {
            return self.fire(armed, parts, body).await;
        }
        let answer = match self.control.decide(&call, &body) {
            Fault::Pass => self.forward(parts, body).await,
            Fault::Throttle => Ok(refusal::throttled(&call).map(Full::from)),
            Fault::ServerError => Ok(refusal::server_error(&call).map(Full::from)),
            Fault::Denied => Ok(refusal::denied(&call).map(Full::from)),
            Fault::LostAnswer => {
                self.forward(parts, body).await?;
                Err(anyhow!("the answer was lost"))
            }
            Fault::Twice => {
                // Whatever came of the first, the second is what the client sees.
                self.forward(parts.clone(), body.clone()).await.ok();
                self.forward(parts, body).await
            }
            Fault::Slow(delay) => {
                tokio::time::sleep(delay).await;
                self.forward(parts, body).await
            }
        };
        // Held is held both ways.
        self.control.pass().await;
        answer
    }

    async fn fire(&self, armed: Armed, parts: Parts, body: Bytes) -> Result<Response<Full<Bytes>>> {
        if armed.trigger.moment() == Moment::After {
            self.forward(parts, body).await?;
        }
        // In a task of its own: the action may well end the client, and with it this connection.
        let acted = self.spawn(async move {
            armed.action.await;
            armed.done.send(()).ok();
        });
        acted.await?;
        bail!("the client is not answered")
    }

    async fn forward(&self, mut parts: Parts, body: Bytes) -> Result<Response<Full<Bytes>>> {
        let mut uri = parts.uri.into_parts();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(self.upstream.clone());
        parts.uri = Uri::from_parts(uri)?;
        // Hop by hop: each side keeps its own connection.
        parts.headers.remove(CONNECTION);
        let response = self.client.request(Request::from_parts(parts, Full::new(body))).await?;
        let (mut parts, body) = response.into_parts();
        parts.headers.remove(CONNECTION);
        parts.headers.remove(TRANSFER_ENCODING);
        Ok(Response::from_parts(parts, Full::new(body.collect().await?.to_bytes())))
    }

    fn set_armed(&self, armed: Option<Armed>) {
        *self.armed.lock().unwrap_or_else(PoisonError::into_inner) = armed;
    }

    /// What is armed, if this is its request; it is then armed no more.
    fn take_armed(&self, call: &Call, body: &[u8]) -> Option<Armed> {
        let mut armed = self.armed.lock().unwrap_or_else(PoisonError::into_inner);
        armed.take_if(|armed| armed.trigger.matches(call, body))
    }

    /// Runs something that ends with the proxy.
    fn spawn<F>(&self, future: F) -> tokio::task::JoinHandle<Option<F::Output>>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        tokio::spawn(self.stop.clone().run_until_cancelled_owned(future))
    }
}
