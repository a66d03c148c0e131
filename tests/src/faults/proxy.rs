//! A loopback address in front of an AWS endpoint, for workers that are processes of their own: what
//! they send can be held, refused or lost, and a test can act at the very moment of one request.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, anyhow, bail};
use stageline_loopback::{Bytes, Loopback, Parts, Response, Scope, TARGET, Upstream};
use tokio::sync::oneshot;

use super::call::Call;
use super::control::Control;
use super::plan::{Fault, Plan};
use super::refusal;
use super::trigger::{Moment, Trigger};

/// A running proxy. Dropped, it stops listening and closes every connection.
#[derive(Debug)]
pub struct Proxy {
    address: Loopback,
    relay: Arc<Relay>,
}

/// What every connection shares.
#[derive(Debug)]
struct Relay {
    upstream: Upstream,
    control: Control,
    armed: Mutex<Option<Armed>>,
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
        let relay = Arc::new(Relay {
            upstream: Upstream::new(upstream)?,
            control: Control::new(Plan::none()),
            armed: Mutex::new(None),
        });
        let serving = Arc::clone(&relay);
        let address =
            Loopback::start(move |scope, parts, body| serve(Arc::clone(&serving), scope, parts, body));
        Ok(Self { address: address.await?, relay })
    }

    /// The address to give to a worker as `AWS_ENDPOINT_URL`.
    pub fn endpoint(&self) -> String {
        self.address.endpoint()
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

/// An error closes the connection without an answer.
async fn serve(relay: Arc<Relay>, scope: Scope, parts: Parts, body: Bytes) -> Result<Response> {
    let call = Call::of(parts.headers.get(TARGET).and_then(|target| target.to_str().ok()));
    // This future ends with the client's connection. What a client has sent takes effect even if the client
    // is killed meanwhile; a receive is given up with its client, as the embedded SQS does: otherwise it
    // would take messages for nobody as long as it polls.
    let is_receive = call.operation == "ReceiveMessage";
    let handled = relay.handle(scope.clone(), call, parts, body);
    match is_receive {
        true => handled.await,
        false => scope.spawn(handled).await?.context("the proxy has stopped")?,
    }
}

impl Relay {
    async fn handle(
        self: Arc<Self>,
        scope: Scope,
        call: Call,
        parts: Parts,
        body: Bytes,
    ) -> Result<Response> {
        self.control.pass().await;
        if let Some(armed) = self.take_armed(&call, &body) {
            return self.fire(&scope, armed, parts, body).await;
        }
        let answer = match self.control.decide(&call, &body) {
            Fault::Pass => self.upstream.send(parts, body).await,
            Fault::Throttle => Ok(refusal::throttled(&call).map(Into::into)),
            Fault::ServerError => Ok(refusal::server_error(&call).map(Into::into)),
            Fault::Denied => Ok(refusal::denied(&call).map(Into::into)),
            Fault::LostAnswer => {
                self.upstream.send(parts, body).await?;
                Err(anyhow!("the answer was lost"))
            }
            Fault::Twice => {
                // Whatever came of the first, the second is what the client sees.
                self.upstream.send(parts.clone(), body.clone()).await.ok();
                self.upstream.send(parts, body).await
            }
            Fault::Slow(delay) => {
                tokio::time::sleep(delay).await;
                self.upstream.send(parts, body).await
            }
        };
        // Held is held both ways.
        self.control.pass().await;
        answer
    }

    async fn fire(&self, scope: &Scope, armed: Armed, parts: Parts, body: Bytes) -> Result<Response> {
        if armed.trigger.moment() == Moment::After {
            self.upstream.send(parts, body).await?;
        }
        // In a task of its own: the action may well end the client, and with it this connection.
        let acted = scope.spawn(async move {
            armed.action.await;
            armed.done.send(()).ok();
        });
        acted.await?;
        bail!("the client is not answered")
    }

    fn set_armed(&self, armed: Option<Armed>) {
        *self.armed.lock().unwrap_or_else(PoisonError::into_inner) = armed;
    }

    /// What is armed, if this is its request; it is then armed no more.
    fn take_armed(&self, call: &Call, body: &[u8]) -> Option<Armed> {
        let mut armed = self.armed.lock().unwrap_or_else(PoisonError::into_inner);
        armed.take_if(|armed| armed.trigger.matches(call, body))
    }
}
