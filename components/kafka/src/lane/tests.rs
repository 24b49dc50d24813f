//! When a lane is full, and when it has room again.

use palladium_component::reply::BoxFuture;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::*;
use crate::Taker;

/// Is done with a record for each permit.
struct Steps(Arc<Semaphore>);

impl Taker for Steps {
    fn take<'a>(&'a self, _: &'a ConsumerRecord) -> BoxFuture<'a, Option<BoxFuture<'static, Ending>>> {
        let steps = self.0.clone();
        let ending: BoxFuture<'static, Ending> = Box::pin(async move {
            steps.acquire().await.unwrap().forget();
            Ending::Done
        });
        Box::pin(async { Some(ending) })
    }

    fn unwanted(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    let in_time = timeout(Duration::from_secs(10), waiting).await;
    assert!(in_time.is_ok(), "{what}");
}

#[tokio::test]
async fn a_lane_full_of_bytes_has_room_when_half_of_them_are_gone() {
    let (routes, steps) = (Arc::new(Routes::new()), Arc::new(Semaphore::new(0)));
    let taker: Arc<dyn Taker> = Arc::new(Steps(steps.clone()));
    routes.add(&["t".to_owned()], &taker);
    let common = Common {
        routes,
        again: None,
        ahead: 10,
        bell: Arc::default(),
        membership: Arc::default(),
    };
    let lane = Lane::start("t", 0, common);
    for offset in 0..4 {
        let value = Bytes::from(vec![0_u8; 300]);
        lane.push(ConsumerRecord::new("t", 0, offset, None, Some(value)));
    }
    assert_eq!(lane.should_pause(10, 1000), Some(true));
    lane.set_paused(true);
    // By their number there would be room already.
    steps.add_permits(1);
    until("the second is with the taker", || {
        lane.progress() == Some(1) && lane.is_busy()
    })
    .await;
    assert!(lane.is_paused());
    assert_eq!(lane.should_pause(10, 1000), None);
    steps.add_permits(2);
    until("there is room", || !lane.is_paused()).await;
    assert_eq!(lane.should_pause(10, 1000), None);
    // Another lane takes half of the room.
    assert_eq!(lane.should_pause(10, 300), Some(true));
}

#[test]
fn many_small_headers_are_not_small() {
    let mut record = ConsumerRecord::new("t", 0, 0, Some("key".into()), None);
    assert_eq!(size(&record), 3);
    record.headers = vec![(String::new(), None); 10];
    assert_eq!(size(&record), 3 + 10 * HEADER);
}
