//! Which path of the application an event goes to.
//!
//! One idea: rules in the order in which they were given; the first that fits wins, one without a condition always fits.
//! What is cheap is looked at where it is asked for; what may take longer on a thread of its own, a few at a time. Must
//! never look into an event when no rule asks for it, nor keep others from their turn while it does.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::condition::{Condition, ConditionError, Seen};
use crate::{Event, Spec};

/// Bytes of the longest event that is looked into where it is asked for.
const SHORT: usize = 16 << 10;
/// Work that is done there, in looks at a value: a millisecond or so.
const CHEAP: f64 = 20_000.0;
/// How many events are looked into elsewhere at a time.
static PLACES: Semaphore = Semaphore::const_new(4);
/// How long such an event may take, waiting included.
const DEADLINE: Duration = Duration::from_secs(10);

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

    /// The event, and its path; `None` when no rule fits.
    ///
    /// # Errors
    /// When a condition has no answer for it, or not in time.
    pub async fn of(self: &Arc<Self>, event: Event) -> Result<(Event, Option<String>), ConditionError> {
        if self.0.first().is_none_or(|(condition, _)| condition.is_none()) {
            let path = self.path(&event, &OnceCell::new())?;
            return Ok((event, path));
        }
        if event.body().len() <= SHORT {
            let seen = Seen::new(&event);
            let conditions = self.0.iter().filter_map(|(condition, _)| condition.as_ref());
            if conditions.map(|condition| condition.work(&seen)).sum::<f64>() <= CHEAP {
                let path = self.path(&event, &OnceCell::from(seen))?;
                return Ok((event, path));
            }
        }
        let late = || ConditionError::Late(DEADLINE);
        let elsewhere = async {
            let place = PLACES.acquire().await.map_err(|_| late())?;
            let routes = self.clone();
            let looked = spawn_blocking(move || {
                // As long as it takes, also when nobody waits any more.
                let _place = place;
                let path = routes.path(&event, &OnceCell::new());
                path.map(|path| (event, path))
            });
            looked.await.map_err(|_| late())?
        };
        timeout(DEADLINE, elsewhere).await.map_err(|_| late())?
    }

    fn path(&self, event: &Event, seen: &OnceCell<Seen>) -> Result<Option<String>, ConditionError> {
        for (condition, path) in &self.0 {
            let fits = match condition {
                None => true,
                Some(condition) => condition.fits(seen.get_or_init(|| Seen::new(event)))?,
            };
            if fits {
                return Ok(Some(path.clone()));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Message;

    fn event(text: String) -> Event {
        let message = Message {
            data: text.into(),
            ..Message::default()
        };
        Event::read(&message, false, "t", "ps").unwrap()
    }

    async fn path(text: &str, rules: &[(&str, &str)]) -> Result<Option<String>, ConditionError> {
        let rules = rules
            .iter()
            .map(|(condition, path)| ((*condition).into(), (*path).into()))
            .collect();
        let routes = Routes::compile(&Spec {
            rules,
            ..Spec::default()
        });
        let found = Arc::new(routes.unwrap()).of(event(text.to_owned())).await;
        found.map(|(_, path)| path)
    }

    #[tokio::test]
    async fn the_first_that_fits_wins() {
        let path = async |rules: &[(&str, &str)]| path(r#"{"type":"b"}"#, rules).await;
        let (a, b) = (r#"event.type == "a""#, r#"event.type == "b""#);
        assert_eq!(
            path(&[(a, "/a"), (b, "/b"), ("", "/c")]).await.unwrap().as_deref(),
            Some("/b")
        );
        assert_eq!(
            path(&[(a, "/a"), (" ", "/c"), (b, "/b")]).await.unwrap().as_deref(),
            Some("/c")
        );
        assert_eq!(path(&[(a, "/a")]).await.unwrap(), None);
        assert!(path(&[("event.x == 1", "/x"), ("", "/c")]).await.is_err());
    }

    #[tokio::test]
    async fn a_long_event_is_looked_into_elsewhere() {
        let items = vec!["1"; 20_000].join(",");
        let text = format!(r#"{{"type":"b","items":[{items}]}}"#);
        assert!(text.len() > SHORT);
        let fits = [
            ("event.items.exists(i, i == 2.0)", "/a"),
            ("event.items.all(i, i == 1.0)", "/b"),
        ];
        assert_eq!(path(&text, &fits).await.unwrap().as_deref(), Some("/b"));
        let costly = [("event.items.all(i, event.items.all(j, i == j))", "/a")];
        assert!(matches!(path(&text, &costly).await, Err(ConditionError::TooCostly(_))));
    }
}
