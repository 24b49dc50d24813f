//! Which path of the application an event goes to.
//!
//! One idea: rules in the order in which they were given; the first that fits wins, one without a condition always fits.
//! Must never look into an event when no rule asks for it.

use std::cell::OnceCell;

use crate::condition::{Condition, ConditionError, variable};
use crate::{Event, Spec};

/// The compiled rules of a subscription.
#[derive(Debug)]
pub struct Routes(Vec<(Option<Condition>, String)>);

impl Routes {
    /// Compiles what was said.
    ///
    /// # Errors
    /// When a condition is none.
    pub fn compile(spec: &Spec) -> Result<Self, ConditionError> {
        let rules = spec.rules.iter().map(|(condition, path)| {
            let condition = Some(condition.trim()).filter(|text| !text.is_empty());
            Ok((condition.map(Condition::compile).transpose()?, path.clone()))
        });
        rules.collect::<Result<_, _>>().map(Routes)
    }

    /// The path for an event; `None` when no rule fits.
    ///
    /// # Errors
    /// When a condition has no answer for it.
    pub fn path(&self, event: &Event) -> Result<Option<&str>, ConditionError> {
        let seen = OnceCell::new();
        for (condition, path) in &self.0 {
            let fits = match condition {
                None => true,
                Some(condition) => condition.fits(seen.get_or_init(|| variable(event)))?,
            };
            if fits {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Message;

    #[test]
    fn the_first_that_fits_wins() {
        let message = Message {
            data: r#"{"type":"b"}"#.into(),
            ..Message::default()
        };
        let event = Event::read(&message, false, "t", "ps").unwrap();
        let path = |rules: &[(&str, &str)]| {
            let rules = rules
                .iter()
                .map(|(condition, path)| ((*condition).into(), (*path).into()))
                .collect();
            let routes = Routes::compile(&Spec {
                rules,
                ..Spec::default()
            });
            routes.unwrap().path(&event).map(|path| path.map(str::to_owned))
        };
        let (a, b) = (r#"event.type == "a""#, r#"event.type == "b""#);
        assert_eq!(
            path(&[(a, "/a"), (b, "/b"), ("", "/c")]).unwrap().as_deref(),
            Some("/b")
        );
        assert_eq!(
            path(&[(a, "/a"), (" ", "/c"), (b, "/b")]).unwrap().as_deref(),
            Some("/c")
        );
        assert_eq!(path(&[(a, "/a")]).unwrap(), None);
        assert!(path(&[("event.x == 1", "/x"), ("", "/c")]).is_err());
    }
}
