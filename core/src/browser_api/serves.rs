//! What is answered where, by a gateway that listens in two places.

use super::request::Action;
use crate::error::{Error, ErrorKind};

/// What is served at one listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Serves {
    /// All of the API.
    Everything,
    /// All of it, but for the metrics, which are served elsewhere.
    Api,
    /// What is about the gateway itself: probes and metrics.
    Admin,
}

impl Serves {
    /// Whether an action is performed here.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::UnknownRoute`] where it is not.
    pub fn action(self, action: &Action) -> Result<(), Error> {
        let is_about_gateway = matches!(action, Action::Health | Action::Ready | Action::Metrics);
        known(match self {
            Self::Everything => true,
            Self::Api => *action != Action::Metrics,
            Self::Admin => is_about_gateway,
        })
    }

    /// Whether there are streams here.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::UnknownRoute`] where there are none.
    pub fn streams(self) -> Result<(), Error> {
        known(self != Self::Admin)
    }
}

fn known(is_known: bool) -> Result<(), Error> {
    if is_known { Ok(()) } else { Err(Error::new(ErrorKind::UnknownRoute)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_and_the_rest_are_where_they_belong() {
        use Serves::{Admin, Api, Everything};
        for (action, served) in [
            (Action::Metrics, [true, false, true]),
            (Action::Health, [true, true, true]),
            (Action::Ready, [true, true, true]),
            (Action::Runtimes, [true, true, false]),
            (Action::AllRequests, [true, true, false]),
        ] {
            assert_eq!([Everything, Api, Admin].map(|at| at.action(&action).is_ok()), served, "{action:?}");
        }
        assert_eq!([Everything, Api, Admin].map(|at| at.streams().is_ok()), [true, true, false]);
        assert_eq!(Admin.streams().unwrap_err().kind(), ErrorKind::UnknownRoute);
    }
}
