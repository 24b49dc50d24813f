//! `bindings.redis`: single keys of a Redis server.
//!
//! The one idea: an operation is one command, and what gives a key its time to live goes to the server in the same step.
//! Must never repeat a call that may have reached the server: an increment would count twice.

use std::sync::Arc;

use ::redis::aio::ConnectionManager;
use ::redis::{Pipeline, RedisError, cmd, pipe};
use palladium_component::bindings::{Answer, Binding, BindingDriver, BindingError, Metadata, Operation, Ways};
use palladium_component::metadata::time_to_live;
use palladium_component::{CallError, ComponentMetadata, Hosted, OpenContext, OpenError, Reply, Status};
use palladium_components_redis::RedisMetadata;

/// The driver.
pub const DRIVER: BindingDriver = BindingDriver {
    type_name: "bindings.redis",
    aliases: &[],
    versions: &["v1"],
    status: Status::Stable,
    hosted: Hosted::Allowed,
    fields: RedisMetadata::fields,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

const OPERATIONS: [&str; 4] = ["create", "delete", "get", "increment"];

async fn open(context: OpenContext) -> Result<Arc<dyn Binding>, OpenError> {
    let metadata = RedisMetadata::parse(&context.properties)?;
    let connecting = metadata.connect("redis binding: error connecting to redis");
    let (_, mut connection, unavailable) = connecting.await?;
    let ping: Result<(), _> = cmd("PING").query_async(&mut connection).await;
    ping.map_err(unavailable)?;
    Ok(Arc::new(RedisBinding { connection }))
}

struct RedisBinding {
    connection: ConnectionManager,
}

impl RedisBinding {
    async fn call(&self, operation: &Operation) -> Result<Answer, CallError> {
        let metadata = &operation.metadata;
        let key = metadata.get("key").filter(|key| !key.is_empty());
        let missing = || CallError::Invalid("redis binding: missing key in request metadata".into());
        let key = key.ok_or_else(missing)?;
        let mut step = pipe();
        step.atomic();
        match operation.name.as_str() {
            "get" => return self.get(key, metadata).await,
            "delete" => step.cmd("DEL").arg(key),
            "create" => step.cmd("SET").arg(key).arg(&operation.data[..]),
            "increment" => step.cmd("INCR").arg(key),
            other => return Err(CallError::Invalid(format!("invalid operation type: {other}"))),
        };
        if operation.name != "delete"
            && let Some(life) = time_to_live(metadata).map_err(CallError::Invalid)?
        {
            let life = i64::try_from(life.as_millis()).unwrap_or(i64::MAX);
            step.cmd("PEXPIRE").arg(key).arg(life);
        }
        self.run(&step).await?;
        Ok(Answer::default())
    }

    async fn get(&self, key: &str, metadata: &Metadata) -> Result<Answer, CallError> {
        let is_last = metadata.get("delete").is_some_and(|said| said == "true");
        let mut get = cmd(if is_last { "GETDEL" } else { "GET" });
        let value: Option<Vec<u8>> = get
            .arg(key)
            .query_async(&mut self.connection.clone())
            .await
            .map_err(failed)?;
        Ok(Answer {
            data: value.map(Into::into),
            ..Answer::default()
        })
    }

    async fn run(&self, step: &Pipeline) -> Result<(), CallError> {
        let done: Result<::redis::Value, _> = step.query_async(&mut self.connection.clone()).await;
        done.map(|_| ()).map_err(failed)
    }
}

fn failed(error: RedisError) -> CallError {
    if error.is_io_error() || error.is_timeout() {
        return CallError::Unavailable(error.to_string());
    }
    CallError::Other(error.to_string())
}

impl Binding for RedisBinding {
    fn ways(&self) -> Ways {
        Ways { out: true, into: false }
    }

    fn operations(&self) -> Vec<String> {
        OPERATIONS.map(str::to_owned).to_vec()
    }

    fn invoke<'a>(&'a self, operation: &'a Operation) -> Reply<'a, Answer, BindingError> {
        Reply::wait(async move { Ok(self.call(operation).await?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_server_is_a_clear_error_without_secrets() {
        let pairs = [
            ("redisHost", "127.0.0.1:1"),
            ("redisPassword", "hunter2"),
            ("redisMaxRetries", "0"),
        ];
        let context = OpenContext::new("b", "app", pairs.into_iter().collect());
        let error = open(context).await.err().unwrap().to_string();
        assert!(error.contains("127.0.0.1:1") && !error.contains("hunter2"), "{error}");
    }
}
