//! The policy against the written table of classes and roles, cell by cell.

use palladium_kinds::{Action, Class, Grant, OrganizationId, ProjectId, Role, RoleScope, registry};

use super::*;

fn actor(organization: &OrganizationId, role: Role, scope: RoleScope) -> Actor {
    let grants = vec![Grant { role, scope }];
    Actor {
        kind: "apikey",
        id: "key-1".into(),
        name: "k".into(),
        organization: organization.clone(),
        grants,
    }
}

/// The table of the roles as the documentation states it, written down a second time on purpose.
fn expected(role: Role, class: Class) -> bool {
    match class {
        Class::Read => true,
        Class::ReadSensitive => role >= Role::ApiConsumer,
        Class::Write | Class::Operate => role >= Role::ApiOperator,
        Class::Admin => role == Role::Admin,
    }
}

#[test]
fn sec_067_every_action_role_and_scope_as_in_the_table() {
    let authorizer = Authorizer::new().unwrap();
    let organization = OrganizationId::generate();
    let (own, other) = (ProjectId::generate(), ProjectId::generate());
    for action in registry::actions() {
        for role in Role::ALL {
            let allowed = expected(role, action.class);
            let global = actor(&organization, role, RoleScope::Global);
            let scoped = actor(&organization, role, RoleScope::Project(own.clone()));
            for (who, target, may) in [
                (&global, Target::organization(&organization), allowed),
                (&global, Target::project(&organization, &own), allowed),
                (&global, Target::project(&organization, &other), allowed),
                (&scoped, Target::organization(&organization), false),
                (&scoped, Target::project(&organization, &own), allowed),
                (&scoped, Target::project(&organization, &other), false),
            ] {
                assert_eq!(
                    authorizer.authorize(who, action, &target),
                    may,
                    "{} {role} {target:?}",
                    action.name
                );
            }
        }
    }
}

#[test]
fn another_organization_and_no_roles_get_nothing() {
    let authorizer = Authorizer::new().unwrap();
    let (ours, theirs) = (OrganizationId::generate(), OrganizationId::generate());
    let admin = actor(&theirs, Role::Admin, RoleScope::Global);
    let nobody = Actor {
        grants: vec![],
        ..actor(&ours, Role::Admin, RoleScope::Global)
    };
    for action in registry::actions() {
        assert!(!authorizer.authorize(&admin, action, &Target::organization(&ours)));
        assert!(!authorizer.authorize(&nobody, action, &Target::organization(&ours)));
    }
}

#[test]
fn an_action_that_nobody_declared_is_refused() {
    static UNKNOWN: Action = Action::new("nothing.atAll", Class::Read, "not in the registry");
    let organization = OrganizationId::generate();
    let admin = actor(&organization, Role::Admin, RoleScope::Global);
    assert!(
        !Authorizer::new()
            .unwrap()
            .authorize(&admin, &UNKNOWN, &Target::organization(&organization))
    );
}

#[test]
fn a_scoped_viewer_sees_only_its_project() {
    let authorizer = Authorizer::new().unwrap();
    let organization = OrganizationId::generate();
    let own = ProjectId::generate();
    let scoped = actor(&organization, Role::Viewer, RoleScope::Project(own.clone()));
    let list = &palladium_kinds::project::LIST;
    assert_eq!(authorizer.visibility(&scoped, list), Visibility::Projects([own].into()));
    let global = actor(&organization, Role::Viewer, RoleScope::Global);
    assert_eq!(authorizer.visibility(&global, list), Visibility::Everything);
    assert_eq!(
        authorizer.visibility(&global, &palladium_kinds::action::organization::API_KEYS_LIST),
        Visibility::Nothing
    );
}

#[test]
fn the_matrix_has_no_irregular_cell() {
    let matrix = role_matrix().unwrap();
    assert!(
        !matrix.contains("irregular") && matrix.contains("| `components.readSecrets` | readSensitive |"),
        "{matrix}"
    );
}
