//! Which cells a round measures, and in which order.

use crate::cell::{Cell, Load, System};

/// Numbers of calls in flight of the unary load.
pub(crate) const IN_FLIGHT: [usize; 3] = [64, 256, 1_024];

/// Calls in flight of refusals, and of the unary load whose throughput the open loop takes half of.
pub(crate) const IN_FLIGHT_USUAL: usize = 256;

/// Batches in flight: 4,096 coupons.
pub(crate) const BATCHES_IN_FLIGHT: usize = 16;

/// Calls in flight of the hot campaign beside the cold ones.
pub(crate) const HOT_IN_FLIGHT: usize = 256;

/// Coupon under a load.
pub(crate) fn coupon(load: Load, in_flight: usize) -> Cell {
    Cell { load, in_flight, system: System::Coupon }
}

/// A unary load.
pub(crate) fn unary(system: System, in_flight: usize) -> Cell {
    Cell { load: Load::Unary, in_flight, system }
}

/// What is measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    /// Loads; none stands for all.
    pub(crate) only: Vec<Load>,
    /// Redis and etcd next to the peers that are part of this program.
    pub(crate) databases: bool,
}

/// The cells of a round. Cells that are compared follow each other, and every
/// other round has them the other way round, so that none is always the first.
pub(crate) fn round(number: usize, selection: &Selection) -> Vec<Cell> {
    let only = &selection.only;
    let is_wanted = |load: &Load| only.is_empty() || only.contains(load);
    let mut cells = Vec::new();
    for in_flight in IN_FLIGHT.into_iter().filter(|_| is_wanted(&Load::Unary)) {
        let mut systems = vec![System::Echo, System::Proxy, System::Coupon];
        systems.extend(selection.databases.then(|| databases(in_flight)).into_iter().flatten());
        if number.is_multiple_of(2) {
            systems.reverse();
        }
        cells.extend(systems.into_iter().map(|system| unary(system, in_flight)));
    }
    let others = [
        (Load::ConnectJson, IN_FLIGHT_USUAL),
        (Load::GrpcWeb, IN_FLIGHT_USUAL),
        (Load::Open, IN_FLIGHT_USUAL),
        (Load::Batch, BATCHES_IN_FLIGHT),
        (Load::SoldOut, IN_FLIGHT_USUAL),
        (Load::NotStarted, IN_FLIGHT_USUAL),
    ];
    for (load, in_flight) in others.into_iter().filter(|(load, _)| is_wanted(load)) {
        for needed in needed(load) {
            if !cells.contains(&needed) {
                cells.push(needed);
            }
        }
        let cell = coupon(load, in_flight);
        if !cells.contains(&cell) {
            cells.push(cell);
        }
    }
    let mut cold = vec![coupon(Load::ColdAlone, 0)];
    cold.extend(is_wanted(&Load::Cold).then(|| coupon(Load::Cold, HOT_IN_FLIGHT)));
    if number.is_multiple_of(2) {
        cold.reverse();
    }
    if cold.len() > 1 || is_wanted(&Load::ColdAlone) {
        cells.extend(cold);
    }
    cells
}

/// The databases that a number of calls in flight is demanded for.
fn databases(in_flight: usize) -> Vec<System> {
    match in_flight {
        64 => vec![System::Redis],
        256 => vec![System::Redis, System::Etcd],
        _ => Vec::new(),
    }
}

/// The cells that a load is compared with, or begins with.
fn needed(load: Load) -> Vec<Cell> {
    match load {
        Load::Unary | Load::ColdAlone | Load::Cold => Vec::new(),
        Load::Batch => vec![unary(System::Echo, IN_FLIGHT_USUAL)],
        Load::ConnectJson | Load::GrpcWeb | Load::Open | Load::SoldOut | Load::NotStarted => {
            vec![unary(System::Coupon, IN_FLIGHT_USUAL)]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_load_needs_comes_before_it() {
        let others = [
            Load::ConnectJson,
            Load::GrpcWeb,
            Load::Batch,
            Load::Open,
            Load::SoldOut,
            Load::NotStarted,
        ];
        for load in others {
            let cells = round(1, &Selection { only: vec![load], databases: false });
            assert_eq!(cells.len(), 2, "{load}");
            assert_eq!((cells[0].load, cells[1].load), (Load::Unary, load));
        }
    }

    #[test]
    fn cold_campaigns_are_measured_alone_and_beside_in_turns() {
        let loads = |number, only| -> Vec<Load> {
            let cells = round(number, &Selection { only: vec![only], databases: false });
            cells.iter().map(|cell| cell.load).collect()
        };
        assert_eq!(loads(1, Load::Cold), [Load::ColdAlone, Load::Cold]);
        assert_eq!(loads(2, Load::Cold), [Load::Cold, Load::ColdAlone]);
        assert_eq!(loads(2, Load::ColdAlone), [Load::ColdAlone]);
        assert!(!loads(1, Load::Unary).contains(&Load::ColdAlone));
    }

    #[test]
    fn every_round_has_the_same_cells_once() {
        let all = Selection { only: Vec::new(), databases: true };
        let (mut first, mut second) = (round(1, &all), round(2, &all));
        assert_ne!(first, second);
        first.sort();
        second.sort();
        assert_eq!(first, second);
        first.dedup();
        assert_eq!(first.len(), second.len());
    }
}
