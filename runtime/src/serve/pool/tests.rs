use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use super::*;

fn leaves(seat: &Seat) -> bool {
    pin!(seat.told_to_leave()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

fn enter(pool: &Arc<Pool>) -> Option<Seat> {
    pool.try_enter()
}

#[test]
fn the_oldest_that_asks_nothing_makes_room() {
    let pool = Pool::new(2);
    let (first, second) = (enter(&pool).unwrap(), enter(&pool).unwrap());
    let third = enter(&pool).unwrap();
    assert!(leaves(&first) && !leaves(&second) && !leaves(&third));
    // While it leaves it is not counted any more.
    let _fourth = enter(&pool).unwrap();
    assert!(leaves(&second) && !leaves(&third));
}

#[test]
fn then_the_one_that_is_idle_for_the_longest_time() {
    let pool = Pool::new(3);
    let seats = [(); 3].map(|()| enter(&pool).unwrap());
    for seat in [&seats[2], &seats[0]] {
        seat.works();
        seat.rests();
    }
    let strangers = [(); 2].map(|()| enter(&pool).unwrap());
    assert!(leaves(&seats[1]), "it has asked nothing");
    assert!(leaves(&strangers[0]), "so has this one");
    assert!(seats.iter().all(|seat| !leaves(seat)));
    strangers[1].works();
    let new = enter(&pool).unwrap();
    assert!(leaves(&seats[2]) && !leaves(&seats[0]));
    new.works();
    let _newer = enter(&pool).unwrap();
    assert!(leaves(&seats[0]));
}

#[test]
fn what_is_at_work_is_not_disturbed() {
    let pool = Pool::new(1);
    let seat = enter(&pool).unwrap();
    seat.works();
    assert!(enter(&pool).is_none());
    let mut waiting = pin!(pool.enter());
    let mut context = Context::from_waker(Waker::noop());
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    seat.rests();
    assert!(waiting.as_mut().poll(&mut context).is_ready());
    assert!(leaves(&seat));
}

#[test]
fn one_that_ends_makes_room_too() {
    let pool = Pool::new(1);
    let seat = enter(&pool).unwrap();
    seat.works();
    let mut waiting = pin!(pool.enter());
    let mut context = Context::from_waker(Waker::noop());
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    drop(seat);
    assert!(waiting.as_mut().poll(&mut context).is_ready());
}
