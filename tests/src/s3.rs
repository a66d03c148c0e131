//! A bucket in memory, spoken to as the worker's store speaks to S3: objects, uploads in parts, lists and
//! deletions of many. Keys are taken as they come, so they must need no percent encoding but of `/`.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hyper::body::Bytes;
use hyper::{Method, Response, StatusCode, Uri};

/// What one request is, as a permission knows it: on an object, or on the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Such as `s3:GetObject`.
    pub action: &'static str,
    /// The object's key; of a deletion of many, the first one's. None for the bucket itself.
    pub key: Option<String>,
}

/// Objects, whatever their bucket is called.
#[derive(Debug, Default)]
pub struct Bucket {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Bytes>,
    uploads: BTreeMap<String, BTreeMap<u32, Bytes>>,
    /// Keys that hold this text get no parts.
    refused: Option<String>,
    next_upload: u32,
}

type Answer = Response<Bytes>;

/// Any time does; the store's own is never compared.
const MODIFIED: &str = "Sat, 21 Nov 2026 12:00:00 GMT";

impl Bucket {
    /// Puts an object as people do.
    pub fn put(&self, key: &str, content: &'static [u8]) {
        self.state().objects.insert(key.to_owned(), Bytes::from_static(content));
    }

    /// The keys that hold this text.
    pub fn keys(&self, text: &str) -> Vec<String> {
        self.state().objects.keys().filter(|key| key.contains(text)).cloned().collect()
    }

    /// From now on no part of an upload is taken whose key holds this text.
    pub fn refuse_parts(&self, text: &str) {
        self.state().refused = Some(text.to_owned());
    }

    /// Answers a request, and says which permission AWS would have asked for.
    pub fn serve(&self, method: &Method, uri: &Uri, body: &Bytes) -> (Option<Access>, Answer) {
        let path = uri.path().trim_start_matches('/');
        let key = path.split_once('/').map(|(_, key)| key.to_owned()).filter(|key| !key.is_empty());
        let query = Query(uri.query().unwrap_or_default());
        let on = |action: &'static str| Some(Access { action, key: key.clone() });
        let mut state = self.state();
        let Some(key) = key.clone() else {
            return match (method, query.has("delete")) {
                (&Method::POST, true) => state.delete_many(body),
                (&Method::GET, _) => (on("s3:ListBucket"), state.list(&query.decoded("prefix"))),
                _ => (None, plain(StatusCode::NOT_IMPLEMENTED)),
            };
        };
        let upload = query.get("uploadId");
        match (method, upload) {
            (&Method::GET, None) => (on("s3:GetObject"), state.get(&key, true)),
            (&Method::HEAD, None) => (on("s3:GetObject"), state.get(&key, false)),
            (&Method::PUT, None) => {
                state.objects.insert(key, body.clone());
                (on("s3:PutObject"), tagged(Bytes::new()))
            }
            (&Method::DELETE, None) => {
                state.objects.remove(&key);
                (on("s3:DeleteObject"), plain(StatusCode::NO_CONTENT))
            }
            (&Method::POST, None) if query.has("uploads") => (on("s3:PutObject"), state.begin_upload()),
            (&Method::PUT, Some(id)) => (on("s3:PutObject"), state.take_part(&key, id, &query, body)),
            (&Method::POST, Some(id)) => (on("s3:PutObject"), state.complete(key, id)),
            (&Method::DELETE, Some(id)) => {
                state.uploads.remove(id);
                (on("s3:AbortMultipartUpload"), plain(StatusCode::NO_CONTENT))
            }
            _ => (None, plain(StatusCode::NOT_IMPLEMENTED)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here is left half done by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn get(&self, key: &str, whole: bool) -> Answer {
        let Some(content) = self.objects.get(key) else {
            return xml(StatusCode::NOT_FOUND, "<Error><Code>NoSuchKey</Code></Error>");
        };
        let mut answer = tagged(if whole { content.clone() } else { Bytes::new() });
        let headers = answer.headers_mut();
        headers.insert("content-length", content.len().into());
        headers.insert("last-modified", hyper::header::HeaderValue::from_static(MODIFIED));
        answer
    }

    fn list(&self, prefix: &str) -> Answer {
        let found = self.objects.iter().filter(|(key, _)| key.starts_with(prefix));
        let contents: String = found
            .map(|(key, content)| {
                let size = content.len();
                format!(
                    "<Contents><Key>{key}</Key><LastModified>2026-11-21T12:00:00.000Z</LastModified>\
                     <ETag>\"1\"</ETag><Size>{size}</Size></Contents>"
                )
            })
            .collect();
        let body = format!("<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>");
        xml(StatusCode::OK, &body)
    }

    fn delete_many(&mut self, body: &Bytes) -> (Option<Access>, Answer) {
        let text = String::from_utf8_lossy(body);
        let keys: Vec<_> =
            text.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next()).collect();
        let mut answer = String::from("<DeleteResult>");
        for key in &keys {
            self.objects.remove(*key);
            answer += &format!("<Deleted><Key>{key}</Key></Deleted>");
        }
        let access = Access { action: "s3:DeleteObject", key: keys.first().map(|key| (*key).to_owned()) };
        (Some(access), xml(StatusCode::OK, &(answer + "</DeleteResult>")))
    }

    fn begin_upload(&mut self) -> Answer {
        self.next_upload += 1;
        let id = format!("upload-{}", self.next_upload);
        self.uploads.insert(id.clone(), BTreeMap::new());
        let body = format!(
            "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
        );
        xml(StatusCode::OK, &body)
    }

    fn take_part(&mut self, key: &str, id: &str, query: &Query<'_>, body: &Bytes) -> Answer {
        if self.refused.as_ref().is_some_and(|text| key.contains(text)) {
            return xml(StatusCode::FORBIDDEN, "<Error><Code>AccessDenied</Code></Error>");
        }
        let number = query.get("partNumber").and_then(|number| number.parse().ok());
        match (self.uploads.get_mut(id), number) {
            (Some(parts), Some(number)) => {
                parts.insert(number, body.clone());
                tagged(Bytes::new())
            }
            _ => xml(StatusCode::NOT_FOUND, "<Error><Code>NoSuchUpload</Code></Error>"),
        }
    }

    fn complete(&mut self, key: String, id: &str) -> Answer {
        let Some(parts) = self.uploads.remove(id) else {
            return xml(StatusCode::NOT_FOUND, "<Error><Code>NoSuchUpload</Code></Error>");
        };
        let whole: Vec<u8> = parts.into_values().flatten().collect();
        self.objects.insert(key, whole.into());
        xml(
            StatusCode::OK,
            "<CompleteMultipartUploadResult><ETag>\"1\"</ETag></CompleteMultipartUploadResult>",
        )
    }
}

struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        let mut pairs = self.0.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn decoded(&self, name: &str) -> String {
        self.get(name).unwrap_or_default().replace("%2F", "/")
    }
}

fn plain(status: StatusCode) -> Answer {
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = status;
    answer
}

fn xml(status: StatusCode, body: &str) -> Answer {
    let text = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>{body}");
    let mut answer = Response::new(Bytes::from(text));
    *answer.status_mut() = status;
    answer
}

fn tagged(content: Bytes) -> Answer {
    let mut answer = Response::new(content);
    answer.headers_mut().insert("etag", hyper::header::HeaderValue::from_static("\"1\""));
    answer
}
