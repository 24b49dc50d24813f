//! Every route. Those of kinds follow from their definitions; the rest is listed.
//!
//! One idea: a route is a line of data with its action and its shapes; serving, the OpenAPI document and tests read the
//! same list. Must never hold what a route does.

use http::Method;
use palladium_kinds::action::organization;
use palladium_kinds::definition::{Group, Scope};
use palladium_kinds::{KindDefinition, app_identity, region, registry};

use super::handlers::{api_keys, app_tokens, audit, discovery, regions, resources};
use super::route::{Route, Shape};

/// All routes of the API.
pub fn routes() -> Vec<Route> {
    let mut all = vec![
        Route::public("/healthz", "probes have no key", Shape::Any, discovery::healthz),
        Route::public(
            "/openapi.json",
            "the document is in the source code too",
            Shape::Any,
            discovery::openapi,
        ),
        Route::public(
            "/cli.envs.json",
            "tells a CLI where to sign in",
            Shape::Any,
            discovery::cli_envs,
        ),
    ];
    for kind in registry::KINDS {
        for group in kind.groups {
            of_kind(kind, *group, &mut all);
        }
    }
    let cra = |path: &str| format!("{}{path}", Group::Cra.prefix());
    let app = cra("/projects/{project}/appids/{name}");
    let kind = app_identity::KIND.kind;
    all.extend([
        Route::protected(
            Method::GET,
            format!("{app}/tokens"),
            &app_identity::TOKENS_LIST,
            Shape::Nothing,
            Shape::Items("TokenStatus"),
            app_tokens::list,
        )
        .of(&app_identity::KIND),
        Route::protected(
            Method::POST,
            format!("{app}/tokens:rotate"),
            &app_identity::TOKENS_ROTATE,
            Shape::Nothing,
            Shape::Object(kind),
            app_tokens::rotate,
        )
        .of(&app_identity::KIND)
        .answering(202),
        Route::protected(
            Method::POST,
            format!("{app}/tokens:revoke"),
            &app_identity::TOKENS_REVOKE,
            Shape::Nothing,
            Shape::Object(kind),
            app_tokens::revoke,
        )
        .of(&app_identity::KIND)
        .answering(202),
        Route::protected(
            Method::POST,
            cra("/regions/{name}/jointoken"),
            &region::JOIN_TOKEN_CREATE,
            Shape::Nothing,
            Shape::Named("JoinTokenCreated"),
            regions::join_token,
        )
        .of(&region::KIND)
        .answering(201),
        Route::protected(
            Method::GET,
            cra("/apikeys"),
            &organization::API_KEYS_LIST,
            Shape::Nothing,
            Shape::Items("ApiKey"),
            api_keys::list,
        ),
        Route::protected(
            Method::POST,
            cra("/apikeys"),
            &organization::API_KEYS_CREATE,
            Shape::Named("ApiKeyRequest"),
            Shape::Named("ApiKeyCreated"),
            api_keys::create,
        )
        .answering(201),
        Route::protected(
            Method::DELETE,
            cra("/apikeys/{name}"),
            &organization::API_KEYS_DELETE,
            Shape::Nothing,
            Shape::Named("ApiKey"),
            api_keys::delete,
        ),
        Route::protected(
            Method::GET,
            cra("/audit"),
            &organization::AUDIT_LIST,
            Shape::Nothing,
            Shape::Items("AuditEvent"),
            audit::list,
        ),
        Route::protected(
            Method::GET,
            cra("/whoami"),
            &organization::WHOAMI,
            Shape::Nothing,
            Shape::Named("WhoAmI"),
            discovery::whoami,
        ),
    ]);
    all
}

fn of_kind(kind: &'static KindDefinition, group: Group, all: &mut Vec<Route>) {
    let collection = match kind.scope {
        Scope::Organization => format!("{}/{}", group.prefix(), kind.plural),
        Scope::Project => format!("{}/projects/{{project}}/{}", group.prefix(), kind.plural),
    };
    // A project is named by the same parameter as when something in it is meant.
    let object = if kind.plural == "projects" {
        format!("{collection}/{{project}}")
    } else {
        format!("{collection}/{{name}}")
    };
    let (crud, name) = (&kind.crud, kind.kind);
    let one = Shape::Object(name);
    let mut add = |route: Route| all.push(route.of(kind));
    let protected = Route::protected;
    add(protected(
        Method::GET,
        collection.clone(),
        crud.list,
        Shape::Nothing,
        Shape::List(name),
        resources::list,
    ));
    add(protected(
        Method::GET,
        object.clone(),
        crud.get,
        Shape::Nothing,
        one,
        resources::get,
    ));
    if let Some(action) = crud.create {
        add(protected(Method::POST, collection, action, one, one, resources::create).answering(202));
    }
    if let Some(action) = crud.update {
        add(protected(Method::PUT, object.clone(), action, one, one, resources::replace).answering(202));
        add(protected(
            Method::PATCH,
            object.clone(),
            action,
            Shape::Patch(name),
            one,
            resources::merge,
        )
        .answering(202));
    }
    if let Some(action) = crud.delete {
        add(protected(Method::DELETE, object, action, Shape::Nothing, one, resources::delete).answering(202));
    }
}
