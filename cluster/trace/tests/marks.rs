//! Marks with the feature `trace`. By itself in a process, since marks of all threads are kept together.

use coupon_trace::{Mark, Stage, Subject, begin, end, mark};

#[test]
fn marks_are_kept_in_order_between_begin_and_end() {
    let batch = |id: u64| Subject::Batch { shard: 1_u32.into(), batch: id.into() };
    mark(Stage::BatchSent, batch(1));
    begin();
    mark(Stage::BatchSent, batch(2));
    mark(Stage::BatchReceived, batch(2));
    let marks: Vec<Mark> = end().into_iter().flatten().collect();
    mark(Stage::BatchSent, batch(3));
    let stages: Vec<Stage> = marks.iter().map(|mark| mark.stage).collect();
    assert_eq!(stages, [Stage::BatchSent, Stage::BatchReceived]);
    assert!(marks[0].at_nanos <= marks[1].at_nanos);
    assert!(end().into_iter().all(|thread| thread.is_empty()));
}
