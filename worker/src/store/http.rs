//! How S3 is spoken to: with the HTTP client and the credentials that the AWS SDK has as well. The client of
//! `object_store` itself would bring a second TLS library.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_dynamodb::config::{ProvideCredentials, SharedCredentialsProvider};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as Tcp;
use hyper_util::rt::TokioExecutor;
use object_store::ClientOptions;
use object_store::aws::AwsCredential;
use object_store::client::{
    CredentialProvider, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpResponseBody, HttpService,
};

/// Until the head of an answer; the longest is that of a part of some MiB over a slow line.
const ANSWER: Duration = Duration::from_secs(120);
const CONNECT: Duration = Duration::from_secs(5);

/// Makes the client.
#[derive(Debug)]
pub(super) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        let generic =
            |error: std::io::Error| object_store::Error::Generic { store: "S3", source: Box::new(error) };
        let mut tcp = Tcp::new();
        tcp.set_connect_timeout(Some(CONNECT));
        tcp.enforce_http(false);
        // `https_or_http`: whether an address may be without TLS, the caller has decided.
        let tls = hyper_rustls::HttpsConnectorBuilder::new()
            .with_native_roots()
            .map_err(generic)?
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Ok(HttpClient::new(Wire(Client::builder(TokioExecutor::new()).build(tls))))
    }
}

type Https = hyper_rustls::HttpsConnector<Tcp>;

#[derive(Debug)]
struct Wire(Client<Https, HttpRequestBody>);

#[async_trait]
impl HttpService for Wire {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let answered = tokio::time::timeout(ANSWER, self.0.request(request)).await;
        let response = answered.map_err(|elapsed| HttpError::new(HttpErrorKind::Timeout, elapsed))?.map_err(
            |error| {
                let kind =
                    if error.is_connect() { HttpErrorKind::Connect } else { HttpErrorKind::Interrupted };
                HttpError::new(kind, error)
            },
        )?;
        let (head, body) = response.into_parts();
        let body = body.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error));
        Ok(HttpResponse::from_parts(head, HttpResponseBody::new(body)))
    }
}

/// The SDK's credentials, which it keeps and renews.
#[derive(Debug)]
pub(super) struct SdkCredentials(Option<SharedCredentialsProvider>);

impl SdkCredentials {
    /// Those of `sdk`.
    pub fn of(sdk: &SdkConfig) -> Self {
        Self(sdk.credentials_provider())
    }
}

#[async_trait]
impl CredentialProvider for SdkCredentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let generic = |source: Box<dyn std::error::Error + Send + Sync>| object_store::Error::Generic {
            store: "S3",
            source,
        };
        let provider = self.0.as_ref().ok_or_else(|| generic("there are no AWS credentials".into()))?;
        let found = provider.provide_credentials().await.map_err(|error| generic(Box::new(error)))?;
        Ok(Arc::new(AwsCredential {
            key_id: found.access_key_id().to_owned(),
            secret_key: found.secret_access_key().to_owned(),
            token: found.session_token().map(str::to_owned),
        }))
    }
}
