//! Each call of the protocol as a function of the queues and the moment. ReceiveMessage's waiting is in
//! [`super::endpoint`]; here is only its attempt.

use serde_json::{Value, json};
use uuid::Uuid;

use super::batch;
use super::broker::{Broker, visibility};
use super::clock::Millis;
use super::digest;
use super::error::SqsError;
use super::message::{self, Draft, Receipt};
use super::settings::{ACCOUNT, AttributeMap, queue_arn};
use super::wire::{self, Nothing, Outgoing, Sent};

/// The queues, the moment, and where clients reach the endpoint.
pub(crate) struct Call<'a> {
    pub broker: &'a mut Broker,
    pub now: Millis,
    /// `host:port`, for queue URLs.
    pub authority: &'a str,
}

/// The name of a queue in its URL. The host does not matter: a tunnel or a container may show another one.
pub(crate) fn queue_name(url: &str) -> &str {
    url.trim_end_matches('/').rsplit('/').next().unwrap_or(url)
}

impl Call<'_> {
    fn url(&self, name: &str) -> String {
        format!("http://{}/{ACCOUNT}/{name}", self.authority)
    }

    pub fn create_queue(&mut self, request: &wire::CreateQueue) -> Result<Value, SqsError> {
        let wire::CreateQueue { queue_name, attributes } = request;
        let incarnation = Uuid::new_v4().as_u64_pair().0;
        self.broker.create(self.now, queue_name, attributes, incarnation)?;
        Ok(json!({ "QueueUrl": self.url(queue_name) }))
    }

    pub fn get_queue_url(&mut self, request: &wire::GetQueueUrl) -> Result<Value, SqsError> {
        self.broker.named(&request.queue_name)?;
        Ok(json!({ "QueueUrl": self.url(&request.queue_name) }))
    }

    pub fn list_queues(&mut self, request: &wire::ListQueues) -> Result<Value, SqsError> {
        let limit = request.max_results.unwrap_or(1000);
        if !(1..=1000).contains(&limit) {
            return Err(SqsError::parameter("MaxResults", limit, "Must be between 1 and 1000."));
        }
        let after = request.next_token.as_deref().unwrap_or_default();
        let mut names = self.broker.names(&request.queue_name_prefix).filter(|name| *name > after);
        let page: Vec<&str> = names.by_ref().take(limit).collect();
        let more = names.next().is_some();
        let mut answer = serde_json::Map::new();
        if let Some(last) = page.last() {
            let urls: Vec<String> = page.iter().map(|name| self.url(name)).collect();
            answer.insert("QueueUrls".to_owned(), json!(urls));
            if more && request.max_results.is_some() {
                answer.insert("NextToken".to_owned(), json!(last));
            }
        }
        Ok(Value::Object(answer))
    }

    pub fn delete_queue(&mut self, request: &wire::OnQueue) -> Result<Value, SqsError> {
        self.broker.delete(queue_name(&request.queue_url))?;
        Ok(json!({}))
    }

    pub fn purge_queue(&mut self, request: &wire::OnQueue) -> Result<Value, SqsError> {
        let named = self.broker.named(queue_name(&request.queue_url))?;
        named.queue.purge();
        Ok(json!({}))
    }

    pub fn get_queue_attributes(&mut self, request: &wire::GetQueueAttributes) -> Result<Value, SqsError> {
        let name = queue_name(&request.queue_url);
        let named = self.broker.named(name)?;
        named.queue.expire(self.now);
        let depth = named.queue.depth(self.now);
        let mut all = named.queue.settings.render();
        all.extend([
            ("QueueArn", queue_arn(name)),
            ("ApproximateNumberOfMessages", depth.visible.to_string()),
            ("ApproximateNumberOfMessagesNotVisible", depth.in_flight.to_string()),
            ("ApproximateNumberOfMessagesDelayed", depth.delayed.to_string()),
            ("CreatedTimestamp", (named.created_at.0 / 1000).to_string()),
            ("LastModifiedTimestamp", (named.modified_at.0 / 1000).to_string()),
        ]);
        let wanted = &request.attribute_names;
        let known = |name: &String| {
            name == "All" || name == "RedrivePolicy" || all.iter().any(|(known, _)| known == name)
        };
        if let Some(unknown) = wanted.iter().find(|name| !known(name)) {
            return Err(SqsError::InvalidAttributeName(unknown.clone()));
        }
        let everything = wanted.iter().any(|name| name == "All");
        let chosen: AttributeMap = all
            .into_iter()
            .filter(|(name, _)| everything || wanted.iter().any(|wanted| wanted == name))
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        if chosen.is_empty() {
            return Ok(json!({}));
        }
        Ok(json!({ "Attributes": chosen }))
    }

    pub fn set_queue_attributes(&mut self, request: &wire::SetQueueAttributes) -> Result<Value, SqsError> {
        let name = queue_name(&request.queue_url);
        self.broker.configure(self.now, name, &request.attributes)?;
        Ok(json!({}))
    }

    pub fn send_message(&mut self, request: wire::SendMessage) -> Result<Sent, SqsError> {
        self.send(queue_name(&request.queue_url), request.message)
    }

    pub fn send_message_batch(
        &mut self,
        request: wire::Batch<Outgoing>,
    ) -> Result<wire::BatchAnswer<Sent>, SqsError> {
        let name = queue_name(&request.queue_url);
        self.broker.named(name)?;
        let size = |m: &Outgoing| message::size(&m.message_body, &m.message_attributes);
        batch::each(request.entries, size, |message| self.send(name, message))
    }

    fn send(&mut self, name: &str, message: Outgoing) -> Result<Sent, SqsError> {
        let id = Uuid::new_v4().to_string();
        let sent = Sent {
            message_id: id.clone(),
            md5_of_body: digest::of_text(&message.message_body),
            md5_of_attributes: digest::of_attributes(&message.message_attributes),
            md5_of_system_attributes: digest::of_attributes(&message.message_system_attributes),
        };
        let draft = Draft {
            body: message.message_body,
            attributes: message.message_attributes,
            system_attributes: message.message_system_attributes,
        };
        self.broker.send(self.now, name, draft, message.delay_seconds, id)?;
        Ok(sent)
    }

    pub fn delete_message(&mut self, request: &wire::DeleteMessage) -> Result<Value, SqsError> {
        self.delete(queue_name(&request.queue_url), &request.handle)?;
        Ok(json!({}))
    }

    pub fn delete_message_batch(
        &mut self,
        request: wire::Batch<wire::Handle>,
    ) -> Result<wire::BatchAnswer<Nothing>, SqsError> {
        let name = queue_name(&request.queue_url);
        self.broker.named(name)?;
        batch::each(request.entries, |_| 0, |handle| self.delete(name, &handle).map(|()| Nothing {}))
    }

    fn delete(&mut self, name: &str, handle: &wire::Handle) -> Result<(), SqsError> {
        let named = self.broker.named(name)?;
        named.queue.delete(&receipt(&handle.receipt_handle)?);
        Ok(())
    }

    pub fn change_message_visibility(
        &mut self,
        request: &wire::ChangeMessageVisibility,
    ) -> Result<Value, SqsError> {
        self.change(queue_name(&request.queue_url), &request.change)?;
        Ok(json!({}))
    }

    pub fn change_message_visibility_batch(
        &mut self,
        request: wire::Batch<wire::Visibility>,
    ) -> Result<wire::BatchAnswer<Nothing>, SqsError> {
        let name = queue_name(&request.queue_url);
        self.broker.named(name)?;
        batch::each(request.entries, |_| 0, |change| self.change(name, &change).map(|()| Nothing {}))
    }

    fn change(&mut self, name: &str, change: &wire::Visibility) -> Result<(), SqsError> {
        let seconds = change.visibility_timeout.ok_or(SqsError::MissingParameter("VisibilityTimeout"))?;
        let timeout = visibility(seconds)?;
        let receipt = receipt(&change.receipt_handle)?;
        let named = self.broker.named(name)?;
        named.queue.change_visibility(self.now, &receipt, timeout)
    }
}

fn receipt(text: &str) -> Result<Receipt, SqsError> {
    if text.is_empty() {
        return Err(SqsError::MissingParameter("ReceiptHandle"));
    }
    text.parse()
}
