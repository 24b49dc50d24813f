//! What a client needs before it knows anything, and who it is.
//!
//! Must never tell a stranger more than health and version of the server, its document and its address.

use std::sync::{Arc, LazyLock};

use serde_json::{Value, json};

use crate::api::failure::Failure;
use crate::api::openapi;
use crate::api::route::{Answer, Answering};
use crate::api::stages::{App, Authenticated};

/// Whether the process serves and its database answers.
pub(in crate::api) fn healthz(app: Arc<App>) -> Answering {
    Box::pin(async move {
        if app.is_healthy().await {
            Ok(Answer::ok(
                json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }),
            ))
        } else {
            Err(Failure::unavailable("the database does not answer; see the log"))
        }
    })
}

/// The OpenAPI document; made once, because anybody may ask for it.
pub(in crate::api) fn openapi(_: Arc<App>) -> Answering {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(openapi::document);
    Box::pin(async { Ok(Answer::ok(DOCUMENT.clone())) })
}

/// Where a CLI signs in. There is no identity provider yet, so the issuer is empty: use an API key.
pub(in crate::api) fn cli_envs(app: Arc<App>) -> Answering {
    Box::pin(async move {
        let url = app.public_url();
        Ok(Answer::ok(json!({
            "apiUrl": url, "authAudience": "", "authClientId": "", "issuerUrl": "", "authDomain": "",
        })))
    })
}

/// Who the caller is and what it may.
pub(in crate::api) fn whoami(app: Arc<App>, call: Authenticated) -> Answering {
    Box::pin(async move { Ok(Answer::ok(call.permit_visible(&app)?.whoami(&app))) })
}
