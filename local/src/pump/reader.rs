//! Reads one shard in order, and finds its place again when its iterator is lost.

use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::error::{DisplayErrorContext, SdkError};
use aws_sdk_dynamodbstreams::operation::get_records::GetRecordsError;
use aws_sdk_dynamodbstreams::operation::get_shard_iterator::GetShardIteratorError;
use aws_sdk_dynamodbstreams::types::ShardIteratorType;

use super::PumpError;
use super::record::StreamRecord;
use super::rules::StartingPosition;

/// A place in a shard.
#[derive(Debug)]
pub(crate) struct ShardReader {
    client: Client,
    stream: String,
    shard: String,
    place: Place,
    cursor: Cursor,
}

#[derive(Debug, Clone)]
enum Cursor {
    /// The iterator of the next read.
    At(String),
    /// To be found again from the place.
    Lost,
    /// The shard has no more records.
    End,
}

#[derive(Debug, Clone)]
enum Place {
    Start(StartingPosition),
    After(String),
}

/// What a read found.
#[derive(Debug)]
pub(crate) enum Read {
    /// Records, none when the reader has caught up.
    Records(Vec<StreamRecord>),
    /// The shard ends here.
    Closed,
}

impl ShardReader {
    /// Takes its place in the shard at once, so that `Latest` means the moment of this call.
    pub async fn open(
        client: Client,
        stream: &str,
        shard: &str,
        start: StartingPosition,
    ) -> Result<Self, PumpError> {
        let mut reader = Self {
            client,
            stream: stream.to_owned(),
            shard: shard.to_owned(),
            place: Place::Start(start),
            cursor: Cursor::Lost,
        };
        reader.cursor = Cursor::At(reader.find_place().await?);
        Ok(reader)
    }

    pub fn shard(&self) -> &str {
        &self.shard
    }

    /// The next records. After an error the same call reads the same records.
    pub async fn read(&mut self) -> Result<Read, PumpError> {
        let iterator = match self.cursor.clone() {
            Cursor::At(iterator) => iterator,
            Cursor::Lost => self.find_place().await?,
            Cursor::End => return Ok(Read::Closed),
        };
        self.cursor = Cursor::At(iterator.clone());
        let request = self.client.get_records().shard_iterator(iterator);
        match request.send().await {
            Ok(answer) => {
                let records = answer.records();
                let of = |record| StreamRecord::new(record, &self.stream);
                let records: Vec<StreamRecord> = records.iter().map(of).collect();
                if let Some(last) = records.last() {
                    self.place = Place::After(last.sequence.clone());
                }
                self.cursor = match answer.next_shard_iterator {
                    Some(next) => Cursor::At(next),
                    None => Cursor::End,
                };
                Ok(Read::Records(records))
            }
            Err(error) => {
                if let SdkError::ServiceError(refused) = &error {
                    self.recover(refused.err());
                }
                Err(PumpError::new("GetRecords", DisplayErrorContext(error)))
            }
        }
    }

    /// Forgets an iterator that is of no more use; the place is kept.
    fn recover(&mut self, error: &GetRecordsError) {
        if error.is_trimmed_data_access_exception() {
            self.place = Place::Start(StartingPosition::TrimHorizon);
        }
        if error.is_trimmed_data_access_exception() || error.is_expired_iterator_exception() {
            self.cursor = Cursor::Lost;
        }
    }

    async fn find_place(&mut self) -> Result<String, PumpError> {
        let request = self.client.get_shard_iterator().stream_arn(&self.stream).shard_id(&self.shard);
        let request = match &self.place {
            Place::Start(StartingPosition::Latest) => request.shard_iterator_type(ShardIteratorType::Latest),
            Place::Start(StartingPosition::TrimHorizon) => {
                request.shard_iterator_type(ShardIteratorType::TrimHorizon)
            }
            Place::After(sequence) => {
                request.shard_iterator_type(ShardIteratorType::AfterSequenceNumber).sequence_number(sequence)
            }
        };
        let failed = |error| PumpError::new("GetShardIterator", error);
        match request.send().await {
            Ok(answer) => {
                answer.shard_iterator.ok_or_else(|| failed("the answer holds no iterator".to_owned()))
            }
            Err(error) => {
                let trimmed = error
                    .as_service_error()
                    .is_some_and(GetShardIteratorError::is_trimmed_data_access_exception);
                if trimmed {
                    // The records after our place are gone: go on with the oldest that is left.
                    self.place = Place::Start(StartingPosition::TrimHorizon);
                }
                Err(failed(DisplayErrorContext(error).to_string()))
            }
        }
    }
}
