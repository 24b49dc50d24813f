//! From actor, action and target to the policy engine's question, and back.
//!
//! The one idea: one question for every route, answered by the policy file alone. Must never allow when anything is
//! odd.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::str::FromStr;

use cedar_policy::{
    Authorizer as Engine, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid, PolicySet, Request,
    RestrictedExpression,
};
use palladium_kinds::{Action, Class, Grant, OrganizationId, ProjectId, Role, RoleScope, registry};

/// Why the policy could not be loaded. Only a broken build can have this.
#[derive(Debug, thiserror::Error)]
#[error("authorization policy: {0}")]
pub struct Error(String);

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// `apikey`
    pub kind: &'static str,
    /// Never reused.
    pub id: String,
    /// For people.
    pub name: String,
    /// Its organization.
    pub organization: OrganizationId,
    /// Its roles.
    pub grants: Vec<Grant>,
}

/// What is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Whose it is.
    pub organization: OrganizationId,
    /// The project that it is (in); `None` = it belongs to the organization itself.
    pub project: Option<ProjectId>,
}

impl Target {
    /// Something of the organization itself.
    pub fn organization(organization: &OrganizationId) -> Self {
        Self {
            organization: organization.clone(),
            project: None,
        }
    }

    /// A project or something in it.
    pub fn project(organization: &OrganizationId, project: &ProjectId) -> Self {
        Self {
            organization: organization.clone(),
            project: Some(project.clone()),
        }
    }
}

/// How much of a collection of projects an actor may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Visibility {
    /// Nothing: the question itself is refused.
    Nothing,
    /// Only these projects.
    Projects(BTreeSet<ProjectId>),
    /// Everything of the organization.
    Everything,
}

/// The policy, loaded once.
pub struct Authorizer {
    engine: Engine,
    policies: PolicySet,
    actions: Vec<Entity>,
}

impl Authorizer {
    /// Loads the built-in policy.
    ///
    /// # Errors
    /// When it does not parse.
    pub fn new() -> Result<Self, Error> {
        let policies = PolicySet::from_str(include_str!("policy.cedar")).map_err(|error| Error(error.to_string()))?;
        let mut actions: Vec<Entity> = Class::ALL
            .iter()
            .map(|class| bare(uid("Action", class.as_str())))
            .collect();
        for action in registry::actions() {
            let class = HashSet::from([uid("Action", action.class.as_str())]);
            actions.push(entity(uid("Action", action.name), HashMap::new(), class)?);
        }
        Ok(Self {
            engine: Engine::new(),
            policies,
            actions,
        })
    }

    /// The one decision.
    pub fn authorize(&self, actor: &Actor, action: &Action, target: &Target) -> bool {
        // An organization is a wall that no policy can open.
        if actor.organization != target.organization {
            return false;
        }
        self.decide(actor, action, target).unwrap_or_else(|error| {
            // Deny when anything is odd; the cause is a defect of ours, not of the caller.
            tracing::error!(%error, action = action.name, actor = actor.id, "the policy could not be asked; denied");
            debug_assert!(false, "{error}");
            false
        })
    }

    /// For collections of projects: everything, some projects, or a refusal.
    pub fn visibility(&self, actor: &Actor, action: &Action) -> Visibility {
        if self.authorize(actor, action, &Target::organization(&actor.organization)) {
            return Visibility::Everything;
        }
        let scopes = actor.grants.iter().filter_map(|grant| match &grant.scope {
            RoleScope::Project(project) => Some(project),
            RoleScope::Global => None,
        });
        let visible: BTreeSet<ProjectId> = scopes
            .filter(|project| self.authorize(actor, action, &Target::project(&actor.organization, project)))
            .cloned()
            .collect();
        if visible.is_empty() {
            Visibility::Nothing
        } else {
            Visibility::Projects(visible)
        }
    }

    fn decide(&self, actor: &Actor, action: &Action, target: &Target) -> Result<bool, Error> {
        let organization = uid("Organization", target.organization.as_str());
        let mut scopes: HashMap<Role, Vec<RestrictedExpression>> = HashMap::new();
        for grant in &actor.grants {
            let scope = match &grant.scope {
                RoleScope::Global => uid("Organization", actor.organization.as_str()),
                RoleScope::Project(project) => uid("Project", project.as_str()),
            };
            scopes
                .entry(grant.role)
                .or_default()
                .push(RestrictedExpression::new_entity_uid(scope));
        }
        let attributes = Role::ALL.iter().map(|role| {
            let granted = scopes.remove(role).unwrap_or_default();
            (attribute(*role).to_owned(), RestrictedExpression::new_set(granted))
        });
        let principal_id = uid("Actor", &actor.id);
        let principal = entity(principal_id.clone(), attributes.collect(), HashSet::new())?;
        let mut entities = self.actions.clone();
        entities.push(principal);
        let resource = match &target.project {
            None => organization.clone(),
            Some(project) => {
                let project = uid("Project", project.as_str());
                entities.push(entity(
                    project.clone(),
                    HashMap::new(),
                    HashSet::from([organization.clone()]),
                )?);
                project
            }
        };
        entities.push(bare(organization));
        let text = |error: &dyn std::fmt::Display| Error(error.to_string());
        let entities = Entities::from_entities(entities, None).map_err(|error| text(&error))?;
        let request = Request::new(
            principal_id,
            uid("Action", action.name),
            resource,
            Context::empty(),
            None,
        )
        .map_err(|error| text(&error))?;
        let answer = self.engine.is_authorized(&request, &self.policies, &entities);
        if let Some(error) = answer.diagnostics().errors().next() {
            return Err(text(error));
        }
        Ok(answer.decision() == Decision::Allow)
    }
}

/// The attribute of the principal that lists where it holds the role.
fn attribute(role: Role) -> &'static str {
    match role {
        Role::Viewer => "viewer",
        Role::ApiConsumer => "apiConsumer",
        Role::ApiOperator => "apiOperator",
        Role::Admin => "admin",
    }
}

fn uid(kind: &'static str, id: &str) -> EntityUid {
    let kind = EntityTypeName::from_str(kind).expect("invariant: entity type names here are literals");
    EntityUid::from_type_name_and_id(kind, EntityId::new(id))
}

fn bare(id: EntityUid) -> Entity {
    Entity::with_uid(id)
}

fn entity(
    id: EntityUid,
    attributes: HashMap<String, RestrictedExpression>,
    parents: HashSet<EntityUid>,
) -> Result<Entity, Error> {
    Entity::new(id, attributes, parents).map_err(|error| Error(error.to_string()))
}
