//! For how long a call of a driver is wanted: until the component is closed.
//!
//! Must never wait for a broker when nobody is left to be told what it says.

use palladium_component::PubsubError;
use palladium_tasks::Shutdown;

/// Does what was asked for, unless the component is closed meanwhile.
pub(crate) async fn unless_closed<T>(
    stop: &Shutdown,
    work: impl Future<Output = Result<T, PubsubError>>,
) -> Result<T, PubsubError> {
    stop.unless(work).await.unwrap_or(Err(PubsubError::Closed))
}
