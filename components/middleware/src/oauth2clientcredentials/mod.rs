//! `middleware.http.oauth2clientcredentials`: a token of the component's own goes along with each request.
//!
//! The one idea: one token for all requests; whoever finds none fetches it while the others wait, and a fetch that failed
//! fails for all of them, so a server that is down is not asked once for each request. Must never let a caller's own header
//! of that name through, nor pass a request on without a token.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::request::Parts;
use http::{HeaderName, HeaderValue};
use palladium_component::middleware::{Middleware, MiddlewareDriver, Verdict};
use palladium_component::{CallError, ComponentMetadata, Hosted, MetadataError, OpenContext, OpenError, Reply, Status};
use secrecy::SecretString;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::form_urlencoded::parse;

use crate::answer;
use crate::path_filter::PathFilter;
use crate::token_endpoint::{AUTO, IN_FORM, IN_HEADER, TokenEndpoint};

/// The driver.
pub const DRIVER: MiddlewareDriver = MiddlewareDriver {
    type_name: "middleware.http.oauth2clientcredentials",
    aliases: &[],
    versions: &["v1"],
    status: Status::Alpha,
    hosted: Hosted::Allowed,
    fields: ClientMetadata::fields,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

/// How long a token is used whose answer does not say.
const UNSAID: Duration = Duration::from_secs(60 * 60);
/// So much earlier a token is replaced, that it does not run out on its way; never more than half of its life.
const EARLIER: Duration = Duration::from_secs(10);
/// How long a failure stands for those that come after it.
const FAILED: Duration = Duration::from_secs(1);

/// What a component says.
#[derive(Debug, ComponentMetadata)]
struct ClientMetadata {
    /// The client's ID at the authorization server.
    #[metadata(name = "clientID")]
    client_id: String,
    /// The client's secret.
    #[metadata(sensitive)]
    client_secret: SecretString,
    /// Scopes that are asked for, with commas or blanks between them.
    scopes: Option<String>,
    /// Where tokens are given out.
    #[metadata(name = "tokenURL")]
    token_url: String,
    /// Header that carries the token.
    header_name: String,
    /// More fields of the request for a token, as a query has them: 'a=b&c=d'.
    endpoint_params_query: Option<String>,
    /// Where the secret goes: '1' into the form, '2' into the header, '0' wherever the server takes it.
    #[metadata(default = "0", allowed = "0", allowed = "1", allowed = "2")]
    auth_style: String,
    /// Regular expression of the paths that are meant; all when absent.
    path_filter: Option<String>,
}

async fn open(context: OpenContext) -> Result<Arc<dyn Middleware>, OpenError> {
    let metadata = ClientMetadata::parse(&context.properties)?;
    let style = match metadata.auth_style.as_str() {
        "1" => IN_FORM,
        "2" => IN_HEADER,
        _ => AUTO,
    };
    Ok(Arc::new(Client {
        form: form(&metadata)?,
        header: answer::header("headerName", &metadata.header_name)?,
        filter: PathFilter::new(metadata.path_filter.as_deref())?,
        endpoint: TokenEndpoint::new(
            &metadata.token_url,
            metadata.client_id,
            metadata.client_secret,
            style,
            context.hosting.is_platform(),
        )?,
        token: RwLock::default(),
        failed: Mutex::default(),
    }))
}

/// What tokens are asked for with.
fn form(metadata: &ClientMetadata) -> Result<Vec<(String, String)>, MetadataError> {
    let more = metadata.endpoint_params_query.as_deref().unwrap_or_default();
    let more = parse(more.as_bytes()).into_owned();
    let mut form: Vec<(String, String)> = more.collect();
    let has = |name: &str| form.iter().any(|(own, _)| own == name);
    for ours in ["scope", "client_id", "client_secret"] {
        if has(ours) {
            let reason = format!("'{ours}' is not for it");
            return Err(MetadataError::new(
                "endpointParamsQuery",
                reason,
                "use the field of its own",
            ));
        }
    }
    // Servers that know no such grant have one of their own.
    if !has("grant_type") {
        form.push(("grant_type".to_owned(), "client_credentials".to_owned()));
    }
    let scopes = metadata.scopes.as_deref().unwrap_or_default().replace(',', " ");
    if !scopes.is_empty() {
        form.push(("scope".to_owned(), scopes));
    }
    Ok(form)
}

struct Client {
    endpoint: TokenEndpoint,
    form: Vec<(String, String)>,
    header: HeaderName,
    filter: PathFilter,
    token: RwLock<Option<Held>>,
    /// The last failure; whoever fetches holds it.
    failed: Mutex<Option<(Instant, String)>>,
}

struct Held {
    header: HeaderValue,
    until: Instant,
}

impl Client {
    fn held(&self) -> Option<HeaderValue> {
        let held = self.token.read().unwrap_or_else(PoisonError::into_inner);
        let held = held.as_ref().filter(|held| held.until > Instant::now())?;
        Some(held.header.clone())
    }

    async fn fetched(&self) -> Result<HeaderValue, CallError> {
        let mut failed = self.failed.lock().await;
        // Somebody was faster.
        if let Some(header) = self.held() {
            return Ok(header);
        }
        if let Some((at, error)) = &*failed
            && at.elapsed() < FAILED
        {
            return Err(CallError::Unavailable(error.clone()));
        }
        let form: Vec<(&str, &str)> = self.form.iter().map(|(name, value)| (&**name, &**value)).collect();
        match self.endpoint.ask(&form).await {
            Ok(token) => {
                let life = token.life.unwrap_or(UNSAID);
                let until = Instant::now() + (life - EARLIER.min(life / 2));
                let header = token.header.clone();
                let held = Held { header, until };
                *self.token.write().unwrap_or_else(PoisonError::into_inner) = Some(held);
                *failed = None;
                Ok(token.header)
            }
            Err(error) => {
                let error = format!("failed to acquire a token: {error}");
                *failed = Some((Instant::now(), error.clone()));
                Err(CallError::Unavailable(error))
            }
        }
    }
}

impl Middleware for Client {
    fn judge<'a>(&'a self, head: &'a mut Parts) -> Reply<'a, Verdict, CallError> {
        if !self.filter.surely_means(head.uri.path()) {
            return Reply::ready(Ok(Verdict::pass()));
        }
        if let Some(token) = self.held() {
            head.headers.insert(&self.header, token);
            return Reply::ready(Ok(Verdict::pass()));
        }
        Reply::wait(async move {
            let token = self.fetched().await?;
            head.headers.insert(&self.header, token);
            Ok(Verdict::pass())
        })
    }
}

#[cfg(test)]
mod tests;
