//! Who has signed in.
//!
//! One idea: an id that nobody guesses leads to a token until that has run out; where there are too many, the one that ends
//! first makes room. Must never be entered by anybody whom the authorization server has not let in, nor print a token.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderValue;

use super::login::random;

const MOST: usize = 10_000;

#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<String, Session>>);

struct Session {
    token: HeaderValue,
    until: Instant,
}

impl Sessions {
    pub(super) fn find(&self, id: &str) -> Option<HeaderValue> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let session = table.get(id).filter(|session| session.until > Instant::now())?;
        Some(session.token.clone())
    }

    /// A session with this token; its id.
    pub(super) fn add(&self, token: HeaderValue, life: Duration) -> Option<String> {
        let id = random()?;
        let now = Instant::now();
        let until = now.checked_add(life)?;
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if table.len() >= MOST {
            table.retain(|_, session| session.until > now);
        }
        if table.len() >= MOST {
            let first = table.iter().min_by_key(|(_, session)| session.until);
            let first = first.map(|(id, _)| id.clone());
            first.and_then(|id| table.remove(&id));
        }
        table.insert(id.clone(), Session { token, until });
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_with_its_token_and_their_number_is_bounded() {
        let sessions = Sessions::default();
        let token = HeaderValue::from_static("Bearer t");
        let over = sessions.add(token.clone(), Duration::ZERO).unwrap();
        assert!(sessions.find(&over).is_none() && sessions.find("").is_none());
        let first = sessions.add(token.clone(), Duration::from_secs(10)).unwrap();
        for _ in 0..MOST {
            sessions.add(token.clone(), Duration::from_secs(100)).unwrap();
        }
        assert!(sessions.find(&first).is_none(), "it made room");
        assert_eq!(sessions.0.lock().unwrap().len(), MOST);
    }
}
