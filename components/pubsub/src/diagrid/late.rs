//! What a subscription has in its hands, and what it has handled of late.
//!
//! One idea: a store that was started again delivers what it does not know to be handled; a message that is still under way
//! here is not handed over twice, and one that was handled is only said to be so once more. Must never forget one that is
//! under way.

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;

/// How many handled ones are remembered.
const REMEMBERED: usize = 4096;

#[derive(Default)]
pub(super) struct Late {
    under_way: HashSet<Bytes>,
    handled: HashSet<Bytes>,
    order: VecDeque<Bytes>,
}

/// What to do with a delivery.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrived {
    /// Hand it over; it is under way from now on.
    New,
    /// It is under way already; its word will come.
    UnderWay,
    /// It was handled: say so.
    Handled,
}

impl Late {
    pub(super) fn arrived(&mut self, token: &Bytes) -> Arrived {
        if self.handled.contains(token) {
            Arrived::Handled
        } else if self.under_way.insert(token.clone()) {
            Arrived::New
        } else {
            Arrived::UnderWay
        }
    }

    /// It was handled.
    pub(super) fn handled(&mut self, token: &Bytes) {
        self.under_way.remove(token);
        if self.handled.insert(token.clone()) {
            self.order.push_back(token.clone());
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.handled.remove(&oldest);
        }
    }

    /// It was not handled: the next delivery is a new one.
    pub(super) fn given_back(&mut self, token: &Bytes) {
        self.under_way.remove(token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_twice_is_known() {
        let mut late = Late::default();
        let token = |number: usize| Bytes::from(number.to_string());
        assert_eq!(late.arrived(&token(1)), Arrived::New);
        assert_eq!(late.arrived(&token(1)), Arrived::UnderWay);
        late.given_back(&token(1));
        assert_eq!(late.arrived(&token(1)), Arrived::New);
        late.handled(&token(1));
        assert_eq!(late.arrived(&token(1)), Arrived::Handled);
        for number in 2..=REMEMBERED + 1 {
            late.handled(&token(number));
        }
        assert_eq!(late.arrived(&token(1)), Arrived::New, "not for ever");
        assert_eq!(late.handled.len(), REMEMBERED);
    }
}
