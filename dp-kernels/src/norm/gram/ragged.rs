//! On a processor: tokens whose rows are not of whole vectors are copied to rows that are, with zeros behind, which no dot product sees.
//!
//! Wide rows are read where they lie ([`End::Overlap`](super::dots::End)): writing them and reading them again would take longer than their products, as it
//! did for a vocabulary of 50257. For short ones the copy is cheap and the kernel small.

use crate::check::Arg;
use crate::launch::Room;
use crate::norm::linear::Problem;
use crate::outer::load;
use crate::reduce::row_of;
use crate::{KernelError, Launch, Tuning};
use cubecl::{prelude::*, std::tensor::TensorHandle};

/// Below that a copy, which is one look at each number, costs more than it saves.
const FEWEST_TOKENS: usize = 16;

/// Columns of a row that is copied at most: its dot products take several loads then, by which the one that overlaps costs little.
const WIDEST: usize = 1024;

/// Whether rows of so many columns are read where they lie.
pub(super) fn in_place(columns: usize) -> bool {
    columns > WIDEST
}

/// Room for the copies of A and of G; none for what is not copied.
pub(super) fn rooms(problem: &Problem<'_>, tuning: &Tuning) -> [Room; 2] {
    let rows = problem.b * problem.t;
    let room = |columns: Option<usize>| Room::of(&[rows, columns.unwrap_or(0)], problem.a.dtype());
    let Problem { a, g, d, p, .. } = problem;
    [
        room(whole_columns(a, *d, problem.t, tuning)),
        room(whole_columns(g, *p, problem.t, tuning)),
    ]
}

/// Whether anything is copied.
pub(super) fn copies(problem: &Problem<'_>, tuning: &Tuning) -> bool {
    let Problem { a, g, t, d, p, .. } = problem;
    whole_columns(a, *d, *t, tuning).is_some() || whole_columns(g, *p, *t, tuning).is_some()
}

/// The columns of the copy of an operand that is copied.
fn whole_columns(arg: &Arg<'_>, columns: usize, tokens: usize, tuning: &Tuning) -> Option<usize> {
    let lanes = tuning.lanes_of(arg.accumulator());
    let ragged = arg.vector(columns, lanes) < lanes;
    let copied = ragged && !in_place(columns) && tokens >= FEWEST_TOKENS;
    (tuning.is_cpu && copied).then(|| columns.next_multiple_of(lanes))
}

/// The same problem on the copies, once they are made in the buffers of [`rooms`].
pub(super) fn launch_copies<'a>(
    launch: &Launch<'_>,
    problem: &Problem<'a>,
    [a_copy, g_copy]: [&'a TensorHandle; 2],
) -> Result<Problem<'a>, KernelError> {
    let Problem {
        op,
        a,
        g,
        b,
        t,
        d,
        p,
        ..
    } = *problem;
    let copied = |arg: Arg<'a>, columns: usize, copy: &'a TensorHandle| {
        let Some(whole) = whole_columns(&arg, columns, t, launch.tuning) else {
            return Ok((arg, columns));
        };
        let copy = Arg::new(op, "workspace", copy)?;
        launch_copy(launch, &arg, &copy, [b * t, columns, whole]);
        Ok((copy, whole))
    };
    let (a, d) = copied(a, d, a_copy)?;
    let (g, p) = copied(g, p, g_copy)?;
    Ok(Problem {
        op,
        a,
        g,
        b,
        t,
        d,
        p,
    })
}

fn launch_copy(
    launch: &Launch<'_>,
    from: &Arg<'_>,
    to: &Arg<'_>,
    [rows, columns, whole]: [usize; 3],
) {
    let Launch { client, tuning, .. } = *launch;
    let lanes = to.vector(whole, tuning.lanes_of(from.accumulator()));
    let native = from.vector(columns, lanes);
    let (count, dim) = tuning.grid(rows, 1);
    copy_to_whole_vectors::launch(
        client,
        count,
        dim,
        native,
        lanes,
        from.buffer(native),
        to.buffer(lanes),
        rows as u32,
        (columns / native) as u32,
        (whole / lanes) as u32,
        from.dtype(),
    );
}

/// One unit takes a row.
#[cube(launch)]
pub(crate) fn copy_to_whole_vectors<F: Float, NM: Size, N: Size>(
    from: &[Vector<F, NM>],
    to: &mut [Vector<F, N>],
    rows: u32,
    columns: u32,
    vectors: u32,
    #[define(F)] _dtype: ElemType,
) {
    let row = row_of(1u32);
    if row < rows as usize {
        let (native, lanes) = (NM::value(), N::value());
        let parts = comptime!(lanes / native);
        let (columns, vectors) = (columns as usize, vectors as usize);
        for v in 0..vectors {
            to[row * vectors + v] =
                load::<F, F, NM, N>(from, row * columns, v * parts, columns, true);
        }
    }
}
