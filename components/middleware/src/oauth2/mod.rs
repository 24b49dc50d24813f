//! `middleware.http.oauth2`: whoever comes without a session is sent to sign in.
//!
//! The one idea: what a sign-in needs on its way (state, PKCE verifier, where to go afterwards) is sealed in a cookie of the
//! browser, so strangers fill no table here; only who has signed in gets a session, whose token goes along with its
//! requests in the named header. Must never send a browser to an address that a request made up, nor let a caller's own
//! header of that name through.

mod cookies;
mod login;
mod sessions;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, LOCATION, SET_COOKIE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use palladium_component::middleware::{Middleware, MiddlewareDriver, Verdict};
use palladium_component::{CallError, ComponentMetadata, Hosted, OpenContext, OpenError, Reply, Status};
use palladium_components_web as web;
use reqwest::Url;
use secrecy::SecretString;
use url::form_urlencoded::{Serializer, parse};

use crate::answer::{self, refuse, told};
use crate::path_filter::PathFilter;
use crate::token_endpoint::{AUTO, TokenEndpoint};
use cookies::Cookies;
use login::{Login, Seal};
use sessions::Sessions;

/// The driver.
pub const DRIVER: MiddlewareDriver = MiddlewareDriver {
    type_name: "middleware.http.oauth2",
    aliases: &[],
    versions: &["v1"],
    status: Status::Alpha,
    hosted: Hosted::Allowed,
    fields: SignInMetadata::fields,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

/// How long a session lasts when the token does not say.
const SESSION: Duration = Duration::from_secs(60 * 60);

/// What a component says.
#[derive(Debug, ComponentMetadata)]
struct SignInMetadata {
    /// The client's ID at the authorization server.
    #[metadata(name = "clientID")]
    client_id: String,
    /// The client's secret.
    #[metadata(sensitive)]
    client_secret: SecretString,
    /// Scopes that are asked for, with commas between them.
    scopes: Option<String>,
    /// Where browsers are sent to sign in.
    #[metadata(name = "authURL")]
    auth_url: String,
    /// Where a code is exchanged for a token.
    #[metadata(name = "tokenURL")]
    token_url: String,
    /// Where browsers come back with a code; it must lead here, to a path that is meant.
    #[metadata(name = "redirectURL")]
    redirect_url: Option<String>,
    /// Header that carries the token.
    #[metadata(default = "Authorization")]
    auth_header_name: String,
    /// Whether browsers are sent on with 'https' after they signed in, and cookies only that way.
    #[metadata(name = "forceHTTPS", default = "false")]
    force_https: bool,
    /// Regular expression of the paths that are meant; all when absent.
    path_filter: Option<String>,
}

async fn open(context: OpenContext) -> Result<Arc<dyn Middleware>, OpenError> {
    let metadata = SignInMetadata::parse(&context.properties)?;
    let redirect = metadata.redirect_url.filter(|url| !url.is_empty());
    let redirect = redirect
        .map(|url| web::address("redirectURL", &url, false))
        .transpose()?;
    let filter = PathFilter::new(metadata.path_filter.as_deref())?;
    if redirect.as_ref().is_some_and(|url| !filter.means(url.path())) {
        // Something in front may give it another path.
        tracing::warn!(
            component = context.component,
            "pathFilter does not mean the path of redirectURL"
        );
    }
    let is_secure = metadata.force_https || redirect.as_ref().is_some_and(|url| url.scheme() == "https");
    Ok(Arc::new(SignIn {
        // Browsers go there, this process does not.
        at: web::address("authURL", &metadata.auth_url, false)?,
        endpoint: TokenEndpoint::new(
            &metadata.token_url,
            metadata.client_id.clone(),
            metadata.client_secret,
            AUTO,
            context.hosting.is_platform(),
        )?,
        client_id: metadata.client_id,
        scopes: metadata.scopes.unwrap_or_default().replace(',', " "),
        redirect,
        header: answer::header("authHeaderName", &metadata.auth_header_name)?,
        force_https: metadata.force_https,
        filter,
        cookies: Cookies::new(&context.component, is_secure),
        seal: Seal::new()?,
        sessions: Sessions::default(),
    }))
}

struct SignIn {
    at: Url,
    endpoint: TokenEndpoint,
    client_id: String,
    /// With blanks between them.
    scopes: String,
    redirect: Option<Url>,
    header: HeaderName,
    force_https: bool,
    filter: PathFilter,
    cookies: Cookies,
    seal: Seal,
    sessions: Sessions,
}

impl SignIn {
    /// The token of the request's session.
    fn session(&self, head: &Parts) -> Option<HeaderValue> {
        let ids = self.cookies.sessions(&head.headers);
        ids.into_iter().find_map(|id| self.sessions.find(id))
    }

    /// Sends the browser to sign in.
    fn begin(&self, head: &Parts) -> Option<Verdict> {
        let target = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let login = Login::new(target)?;
        let challenge = login.challenge();
        let mut fields = vec![
            ("access_type", "offline"),
            ("client_id", self.client_id.as_str()),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
        ];
        if let Some(redirect) = &self.redirect {
            fields.push(("redirect_uri", redirect.as_str()));
        }
        fields.push(("response_type", "code"));
        if !self.scopes.is_empty() {
            fields.push(("scope", self.scopes.as_str()));
        }
        fields.push(("state", login.state.as_str()));
        let query = Serializer::new(String::new()).extend_pairs(fields).finish();
        let separator = if self.at.query().is_some() { '&' } else { '?' };
        let sealed = self.seal.close(&login)?;
        let mut answer = moved(&format!("{}{separator}{query}", self.at))?;
        let cookie = self.cookies.login(&sealed)?;
        answer.headers_mut().append(SET_COOKIE, cookie);
        Some(Verdict::Answer(answer))
    }

    /// The browser came back: a session for the code.
    async fn finish(&self, head: &Parts, state: &str, code: Option<String>) -> Verdict {
        let sealed = self.cookies.logins(&head.headers);
        let logins = sealed.into_iter().filter_map(|sealed| self.seal.open(sealed));
        let Some(login) = logins.into_iter().find(|login| login.is_of(state)) else {
            return told(StatusCode::BAD_REQUEST, "invalid state");
        };
        let Some(code) = code.filter(|code| !code.is_empty()) else {
            return told(StatusCode::BAD_REQUEST, "code not found");
        };
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("code_verifier", login.verifier.as_str()),
        ];
        if let Some(redirect) = &self.redirect {
            form.push(("redirect_uri", redirect.as_str()));
        }
        let token = match self.endpoint.ask(&form).await {
            Ok(token) => token,
            Err(error) => {
                tracing::error!(error, "failed to exchange a code for a token");
                return refuse(StatusCode::INTERNAL_SERVER_ERROR);
            }
        };
        let life = token.life.unwrap_or(SESSION);
        let session = self.sessions.add(token.header, life);
        let done = session.and_then(|id| {
            let mut answer = moved(&self.onward(head, &login.target))?;
            let headers = answer.headers_mut();
            headers.append(SET_COOKIE, self.cookies.session(&id, life)?);
            headers.append(SET_COOKIE, self.cookies.no_login()?);
            Some(Verdict::Answer(answer))
        });
        done.unwrap_or_else(|| refuse(StatusCode::INTERNAL_SERVER_ERROR))
    }

    /// Where the request that began it wanted to go: a path of this host, whatever it says.
    fn onward(&self, head: &Parts, target: &str) -> String {
        // Browsers take `//host` and `/\host` for another host.
        let path = format!("/{}", target.trim_start_matches(['/', '\\']));
        if !self.force_https {
            return path;
        }
        let known = self
            .redirect
            .as_ref()
            .map(|url| url[url::Position::BeforeHost..url::Position::AfterPort].to_owned());
        let said = || head.headers.get(HOST)?.to_str().ok().map(str::to_owned);
        match known.or_else(said) {
            Some(host) => format!("https://{host}{path}"),
            None => path,
        }
    }
}

impl Middleware for SignIn {
    fn judge<'a>(&'a self, head: &'a mut Parts) -> Reply<'a, Verdict, CallError> {
        if !self.filter.means(head.uri.path()) {
            return Reply::ready(Ok(Verdict::pass()));
        }
        if let Some(token) = self.session(head) {
            head.headers.insert(&self.header, token);
            return Reply::ready(Ok(Verdict::pass()));
        }
        let query = head.uri.query().unwrap_or_default();
        let field = |wanted: &str| {
            let found = parse(query.as_bytes()).find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.into_owned())
        };
        match field("state").filter(|state| !state.is_empty()) {
            None => {
                let failed = || refuse(StatusCode::INTERNAL_SERVER_ERROR);
                Reply::ready(Ok(self.begin(head).unwrap_or_else(failed)))
            }
            Some(state) => {
                let code = field("code");
                let head: &Parts = head;
                Reply::wait(async move { Ok(self.finish(head, &state, code).await) })
            }
        }
    }
}

fn moved(to: &str) -> Option<Response<Bytes>> {
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = StatusCode::FOUND;
    let to = HeaderValue::try_from(to).ok()?;
    answer.headers_mut().insert(LOCATION, to);
    Some(answer)
}

#[cfg(test)]
mod tests;
