//! `bindings.aws.s3`: objects of one bucket of AWS S3, or of a service that speaks its protocol.
//!
//! The one idea: a request's address is signed and holds for minutes; bodies are not signed, TLS protects them. An object
//! goes as a whole, so it is no longer than [`client::LONGEST`]. Must never follow an answer to another host, nor touch a
//! file of the machine for a tenant.

mod bulk;
mod client;
mod list;
mod metadata;
mod objects;

use std::sync::Arc;

use palladium_component::bindings::{Answer, Binding, BindingDriver, BindingError, Operation, Ways};
use palladium_component::{ComponentMetadata, Hosted, Hosting, OpenContext, OpenError, Reply, Status};
use palladium_components_web::is_refused;

use client::Client;
use metadata::{S3Metadata, wrong};

/// The driver.
pub const DRIVER: BindingDriver = BindingDriver {
    type_name: "bindings.aws.s3",
    aliases: &[],
    versions: &["v1"],
    status: Status::Stable,
    hosted: Hosted::Allowed,
    fields: S3Metadata::fields,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

const OPERATIONS: [&str; 8] = [
    "create",
    "get",
    "delete",
    "list",
    "presign",
    "bulkGet",
    "bulkCreate",
    "bulkDelete",
];

async fn open(context: OpenContext) -> Result<Arc<dyn Binding>, OpenError> {
    let metadata = S3Metadata::parse(&context.properties)?;
    metadata.check(&context.hosting)?;
    let signer = metadata.signer(&context.hosting, |name| std::env::var(name).ok())?;
    let hosted = context.hosting.is_platform();
    let endpoint = metadata.endpoint(&signer.region)?;
    if hosted && endpoint.host_str().is_some_and(is_refused) {
        return Err(OpenError::NotAllowed(
            "endpoint: that address may not be called here".to_owned(),
        ));
    }
    let client = Client::new(&metadata, endpoint, signer, hosted)?;
    Ok(Arc::new(S3 {
        client,
        metadata,
        hosting: context.hosting,
    }))
}

struct S3 {
    client: Client,
    metadata: S3Metadata,
    hosting: Hosting,
}

impl Binding for S3 {
    fn ways(&self) -> Ways {
        Ways { out: true, into: false }
    }

    fn operations(&self) -> Vec<String> {
        OPERATIONS.map(str::to_owned).to_vec()
    }

    fn invoke<'a>(&'a self, operation: &'a Operation) -> Reply<'a, Answer, BindingError> {
        Reply::wait(async move {
            let options = self.metadata.options(&operation.metadata, &self.hosting)?;
            Ok(match operation.name.as_str() {
                "create" => self.create(operation, &options).await,
                "get" => self.get(operation, &options).await,
                "delete" => self.delete(operation).await,
                "list" => self.list(operation).await,
                "presign" => self.presign(operation, &options),
                "bulkGet" => self.bulk_get(operation, &options).await,
                "bulkCreate" => self.bulk_create(operation, &options).await,
                "bulkDelete" => self.bulk_delete(operation).await,
                other => Err(wrong(&format!("unsupported operation {other}"))),
            }?)
        })
    }
}
