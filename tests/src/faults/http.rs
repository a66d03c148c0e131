//! An HTTP client for the SDK whose calls fail by plan. It stands where the network would: below the
//! SDK's retries, above the real client.

use anyhow::{Context, Result};
use aws_config::SdkConfig;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use hyper::Response;
use stageline_loopback::TARGET;

use super::call::Call;
use super::control::Control;
use super::plan::{Fault, Plan};
use super::refusal;

/// Wraps an HTTP client. Everything that is made of one wrapped configuration shares one [`Control`].
#[derive(Clone, Debug)]
pub struct FaultyHttp {
    inner: SharedHttpClient,
    control: Control,
}

#[derive(Debug)]
struct FaultyConnector {
    inner: SharedHttpConnector,
    control: Control,
}

impl FaultyHttp {
    /// Puts faults before `inner`.
    pub fn new(inner: SharedHttpClient, control: Control) -> Self {
        Self { inner, control }
    }

    /// A configuration like `config` whose calls fail by `plan`, and the handle to steer it.
    ///
    /// # Errors
    /// `config` has no HTTP client.
    pub fn wrap(config: &SdkConfig, plan: Plan) -> Result<(SdkConfig, Control)> {
        let inner = config.http_client().context("the configuration has no HTTP client to wrap")?;
        let control = Control::new(plan);
        let faulty = config.to_builder().http_client(Self::new(inner, control.clone())).build();
        Ok((faulty, control))
    }
}

impl HttpClient for FaultyHttp {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(FaultyConnector { inner, control: self.control.clone() })
    }
}

impl HttpConnector for FaultyConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (inner, control) = (self.inner.clone(), self.control.clone());
        HttpConnectorFuture::new(async move {
            let call = Call::of(request.headers().get(TARGET));
            control.pass().await;
            let fault = control.decide(&call, request.body().bytes().unwrap_or_default());
            let answer = apply(fault, &call, request, &inner).await;
            // Held is held both ways.
            control.pass().await;
            answer
        })
    }
}

async fn apply(
    fault: Fault,
    call: &Call,
    request: HttpRequest,
    inner: &SharedHttpConnector,
) -> Result<HttpResponse, ConnectorError> {
    match fault {
        Fault::Pass => inner.call(request).await,
        Fault::Throttle => answer(refusal::throttled(call)),
        Fault::ServerError => answer(refusal::server_error(call)),
        Fault::Denied => answer(refusal::denied(call)),
        Fault::LostAnswer => {
            inner.call(request).await?;
            Err(ConnectorError::timeout("the answer was lost".into()))
        }
        Fault::Twice => {
            let copy = request.try_clone();
            let copy = copy.ok_or_else(|| ConnectorError::user("a stream cannot be sent twice".into()))?;
            // Whatever came of the first, the second is what the caller sees.
            let _ = inner.call(copy).await;
            inner.call(request).await
        }
        Fault::Slow(delay) => {
            tokio::time::sleep(delay).await;
            inner.call(request).await
        }
    }
}

fn answer(response: Response<String>) -> Result<HttpResponse, ConnectorError> {
    HttpResponse::try_from(response.map(Into::into)).map_err(|error| ConnectorError::user(error.into()))
}
