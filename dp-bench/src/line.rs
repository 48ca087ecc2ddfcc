//! Lines of a result: what ran, each row, each row that was left out.

use serde::{Deserialize, Serialize};

use crate::{Bound, Cost, DeviceCeilings, Place, Summary};

/// One line of JSON.
// A few hundred of them at most: a box would save nothing.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub enum Line {
    /// What ran, on what; the first line.
    Run(Header),
    /// A row.
    Row(Row),
    /// A row that was asked for and not measured.
    LeftOut(LeftOut),
}

/// What ran, and the device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// The runtime.
    pub backend: String,
    /// The device's own name.
    pub device: String,
    /// Driver or compiler under it.
    pub driver: String,
    /// Version of the program.
    pub version: String,
    /// Commit, where whoever built the program said it.
    pub commit: Option<String>,
    /// Day, in UTC.
    pub date: String,
    /// What the person said of the machine.
    pub note: Option<String>,
    /// The extent: "quick" or "full".
    pub extent: String,
    /// Seconds of measuring that each row was given.
    pub seconds_per_row: f64,
    /// The last-level cache in bytes; working sets are four times that.
    pub cache_bytes: u64,
    /// Whether the runtime told the cache's size.
    pub cache_told: bool,
    /// The most bytes of buffers at a time.
    pub memory_bytes: u64,
    /// Processes that ran or waited, on average over the minute before, where the system tells.
    pub load_before: Option<f64>,
    /// What the device reaches at best.
    pub ceilings: DeviceCeilings,
}

/// One measured row. It says everything that it takes to read it alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The launcher, and its variant.
    pub op: String,
    /// The model.
    pub model: String,
    /// The layer.
    pub layer: String,
    /// The shape, in words.
    pub shape: String,
    /// Examples; 0 where there are none.
    pub b: u64,
    /// Tokens or positions; 0 where there are none.
    pub t: u64,
    /// How often the model has this layer.
    pub count: u64,
    /// Element type of the inputs.
    pub dtype: String,
    /// The runtime.
    pub backend: String,
    /// The device's own name.
    pub device: String,
    /// Driver or compiler under it.
    pub driver: String,
    /// Commit.
    pub commit: Option<String>,
    /// Whether the result was right, and how that was found.
    pub verified: Verified,
    /// The times; none unless the row is verified.
    pub time: Option<Time>,
    /// The least bytes to move.
    pub bytes: u64,
    /// Multiplications and additions.
    pub flop: u64,
    /// Bytes of the buffers that the launches went round.
    pub working_set_bytes: u64,
    /// The command that measures this row again.
    pub repeat: String,
}

/// The comparison before the timing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verified {
    /// Whether it passed.
    pub ok: bool,
    /// What was compared, or why nothing could be.
    pub what: String,
    /// The largest error; none where nothing could be compared, or it is not finite.
    pub error: Option<f64>,
    /// The largest allowed.
    pub budget: Option<f64>,
}

/// Times of a row and what follows from them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Time {
    /// Samples.
    pub n: usize,
    /// Launches that a sample is the mean of.
    pub launches: usize,
    /// "device" or "wall".
    pub clock: String,
    /// Seconds of the shortest sample.
    pub min: f64,
    /// Seconds of the middle one.
    pub median: f64,
    /// Seconds that 95% of them don't exceed.
    pub p95: f64,
    /// 1e9 bytes a second, by the median.
    pub gb_per_s: f64,
    /// 1e9 FLOP a second, by the median.
    pub gflop_per_s: f64,
    /// Per cent of the ceiling that binds: the least time that it allows over the median.
    pub percent_of_ceiling: f64,
    /// Which ceiling binds.
    pub bound: Bound,
    /// Median over the samples of private time over the time without privacy, taken in turn.
    pub ratio: Option<f64>,
    /// Seconds of the median without privacy.
    pub non_private_median: Option<f64>,
}

/// A row that was not measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its words: op, model, layer, element type, shape.
    pub words: String,
    /// Why.
    pub why: String,
}

impl Row {
    /// The words that `--filter` looks at, and by which rows of two results are the same.
    #[must_use]
    pub fn words(&self) -> String {
        let Self {
            op,
            model,
            layer,
            dtype,
            shape,
            ..
        } = self;
        format!("{op} {model} {layer} {dtype} {shape}")
    }

    pub(crate) fn new(
        header: &Header,
        place: &Place,
        op: &str,
        cost: Cost,
        working_set_bytes: u64,
        repeat: String,
        verified: Verified,
    ) -> Self {
        let place = place.clone();
        Self {
            op: op.to_owned(),
            model: place.model,
            layer: place.layer,
            shape: place.shape,
            b: place.b,
            t: place.t,
            count: place.count,
            dtype: place.dtype.to_owned(),
            backend: header.backend.clone(),
            device: header.device.clone(),
            driver: header.driver.clone(),
            commit: header.commit.clone(),
            verified,
            time: None,
            bytes: cost.bytes,
            flop: cost.flop,
            working_set_bytes,
            repeat,
        }
    }
}

impl Time {
    pub(crate) fn new(
        summary: &Summary,
        launches: usize,
        clock: &str,
        cost: &Cost,
        ceilings: &DeviceCeilings,
    ) -> Self {
        let (least, bound) = ceilings.least(cost);
        let Summary {
            n,
            min,
            median,
            p95,
        } = *summary;
        Self {
            n,
            launches,
            clock: clock.to_owned(),
            min,
            median,
            p95,
            gb_per_s: cost.bytes as f64 / median * 1e-9,
            gflop_per_s: cost.flop as f64 / median * 1e-9,
            percent_of_ceiling: 100.0 * least / median,
            bound,
            ratio: None,
            non_private_median: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ceilings() -> DeviceCeilings {
        DeviceCeilings {
            copy_bytes_per_s: 1e10,
            read_bytes_per_s: 2e10 / 3.0,
            gemm_flop_per_s: 4e12,
            gemm_half_flop_per_s: Some(1e14),
        }
    }

    fn header() -> Header {
        Header {
            backend: "cuda".into(),
            device: "a \"device\"\n".into(),
            driver: "d".into(),
            version: "0".into(),
            commit: Some("abc".into()),
            date: "2026-01-31".into(),
            note: None,
            extent: "full".into(),
            seconds_per_row: 0.1,
            cache_bytes: 1 << 40,
            cache_told: true,
            memory_bytes: u64::MAX,
            load_before: Some(0.1 + 0.2),
            ceilings: ceilings(),
        }
    }

    fn row(time: Option<Time>) -> Row {
        let place = Place {
            model: "m".into(),
            layer: "l".into(),
            dtype: "bf16",
            shape: "B 1 T 2 [3, 4]".into(),
            b: 1,
            t: 2,
            count: 3,
        };
        let verified = Verified {
            ok: time.is_some(),
            what: "all".into(),
            error: Some(1e-7 / 3.0),
            budget: Some(2e-5),
        };
        let cost = Cost {
            bytes: u64::MAX,
            flop: 5,
            half: true,
        };
        let repeat = "dpcube bench --filter 'x'".into();
        let mut row = Row::new(&header(), &place, "op", cost, 6, repeat, verified);
        row.time = time;
        row
    }

    /// Every number comes back to the bit.
    #[test]
    fn lines_come_back_from_json() {
        let cost = Cost {
            bytes: 4 << 30,
            flop: 3_000_000_007,
            half: false,
        };
        let summary = Summary::of(&[0.1, 0.2, 1.0 / 3.0]).unwrap();
        let mut time = Time::new(&summary, 7, "device", &cost, &ceilings());
        time.ratio = Some(1.0 / 7.0);
        let left_out = LeftOut {
            words: "op m l".into(),
            why: "it's \"slow\"".into(),
        };
        for line in [
            Line::Run(header()),
            Line::Row(row(Some(time))),
            Line::Row(row(None)),
            Line::LeftOut(left_out),
        ] {
            let text = serde_json::to_string(&line).unwrap();
            assert!(!text.contains('\n'), "{text}");
            assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), line, "{text}");
        }
    }

    /// Rates and the share of the ceiling follow from the median.
    #[test]
    fn rates_follow_from_the_median() {
        let summary = Summary::of(&[1.0, 0.5, 0.25]).unwrap();
        let of = |bytes, flop| {
            let half = false;
            let cost = Cost { bytes, flop, half };
            Time::new(&summary, 1, "wall", &cost, &ceilings())
        };
        let moving = of(1_000_000_000, 1_000_000_000);
        assert_eq!((moving.gb_per_s, moving.gflop_per_s), (2.0, 2.0));
        // The copy is the faster of the two bandwidths: 0.1 s of 0.5.
        assert!((moving.percent_of_ceiling - 20.0).abs() < 1e-9);
        assert_eq!(moving.bound, Bound::Memory);
        let computing = of(1_000_000_000, 1_000_000_000_000);
        assert!((computing.percent_of_ceiling - 50.0).abs() < 1e-9);
        assert_eq!(computing.bound, Bound::Compute);
    }
}
