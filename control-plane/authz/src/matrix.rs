//! The role matrix as a document: every action × every role × every place, as the policy really answers.
//!
//! Committed as `docs/generated/role-matrix.md`, so that a change of anybody's rights is a line in a review.
//!
//! One idea: what the policy means is shown, not what it says. Must never state a right by itself: each cell is an
//! answer of the policy.

use std::fmt::Write as _;

use palladium_kinds::{Grant, OrganizationId, ProjectId, Role, RoleScope, registry};

use crate::authorizer::{Actor, Authorizer, Error, Target};

/// Renders the matrix.
///
/// # Errors
/// When the policy cannot be loaded.
pub fn role_matrix() -> Result<String, Error> {
    let authorizer = Authorizer::new()?;
    let organization = OrganizationId::generate();
    let (own, other) = (ProjectId::generate(), ProjectId::generate());
    let mut out = String::from(
        "# Role matrix\n\n\
         Generated from the policy by `cargo xtask generate`; do not edit. Each cell answers for a holder of the role, first with\n\
         the role on the whole organization, then with the role on one project only:\n\n\
         - `yes`: allowed everywhere.\n\
         - `own`: allowed on the project of the grant and what is in it.\n\
         - `no`: refused.\n\n\
         | action | class | what it does | viewer | API consumer | API operator | admin |\n\
         |---|---|---|---|---|---|---|\n",
    );
    let mut actions = registry::actions();
    actions.sort_by_key(|action| action.name);
    for action in actions {
        let _ = write!(
            out,
            "| `{}` | {} | {} |",
            action.name,
            action.class.as_str(),
            action.summary
        );
        for role in Role::ALL {
            let answers = [RoleScope::Global, RoleScope::Project(own.clone())].map(|scope| {
                let actor = Actor {
                    kind: "apikey",
                    id: "key".into(),
                    name: "key".into(),
                    organization: organization.clone(),
                    grants: vec![Grant { role, scope }],
                };
                let may = |target: &Target| authorizer.authorize(&actor, action, target);
                let places = [
                    may(&Target::organization(&organization)),
                    may(&Target::project(&organization, &own)),
                    may(&Target::project(&organization, &other)),
                ];
                match places {
                    [true, true, true] => "yes",
                    [false, true, false] => "own",
                    [false, false, false] => "no",
                    _ => "irregular",
                }
            });
            let _ = write!(out, " {} / {} |", answers[0], answers[1]);
        }
        out.push('\n');
    }
    Ok(out)
}
