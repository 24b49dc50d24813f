//! The cookies of one component.
//!
//! One idea: their names carry the component's, so two components at one host are two sign-ins. Scripts never see them, and
//! other sites only ever make a browser send them by leading it here. Must never be sent without TLS where that is known.

use std::time::Duration;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use super::login::LIFE;

pub(super) struct Cookies {
    session: String,
    login: String,
    secure: &'static str,
}

impl Cookies {
    pub(super) fn new(component: &str, is_secure: bool) -> Self {
        let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let component: String = component.chars().filter(is_plain).collect();
        Self {
            session: format!("dapr-session-{component}"),
            login: format!("dapr-login-{component}"),
            secure: if is_secure { "; Secure" } else { "" },
        }
    }

    /// What claims to be a session.
    pub(super) fn sessions<'a>(&self, headers: &'a HeaderMap) -> Vec<&'a str> {
        named(headers, &self.session)
    }

    /// What claims to be a sign-in on its way.
    pub(super) fn logins<'a>(&self, headers: &'a HeaderMap) -> Vec<&'a str> {
        named(headers, &self.login)
    }

    pub(super) fn session(&self, id: &str, life: Duration) -> Option<HeaderValue> {
        self.cookie(&self.session, id, life)
    }

    pub(super) fn login(&self, sealed: &str) -> Option<HeaderValue> {
        self.cookie(&self.login, sealed, LIFE)
    }

    pub(super) fn no_login(&self) -> Option<HeaderValue> {
        self.cookie(&self.login, "", Duration::ZERO)
    }

    fn cookie(&self, name: &str, value: &str, life: Duration) -> Option<HeaderValue> {
        let (life, secure) = (life.as_secs(), self.secure);
        let text = format!("{name}={value}; Path=/; Max-Age={life}; HttpOnly; SameSite=Lax{secure}");
        let mut value = HeaderValue::try_from(text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// The values of a cookie: as a rule one, but a neighbouring host may have planted another.
fn named<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    let lines = headers
        .get_all(COOKIE)
        .into_iter()
        .filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';'));
    let values = pairs.filter_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='));
    values.take(MOST).collect()
}

/// As many of one name are looked at.
const MOST: usize = 4;
