//! Pictures that are whole whatever they show, and axes that reach as far as their values.

use proptest::prelude::*;

use super::axis::Axis;
use super::*;
use crate::page::elements::elements;

fn bars(labels: &[&str]) -> Bars {
    let bar = |label: &&str| Bar {
        label: (*label).to_owned(),
        values: vec![1.0, 0.0, 2.5],
        range: Some((3.0, 4.0)),
    };
    Bars {
        title: "a < b".to_owned(),
        axis: "times".to_owned(),
        unit: Unit::Times,
        parts: ["x", "y", "z"].map(str::to_owned).to_vec(),
        bars: labels.iter().map(bar).collect(),
    }
}

fn count(svg: &str, name: &str) -> usize {
    elements(svg).iter().filter(|seen| **seen == name).count()
}

#[test]
fn bars_have_parts_and_long_labels_end_in_dots() {
    let long = "a-word-that-is-longer-than-any-line-of-labels-can-be-and-goes-on-and-on-and-on";
    let words = "many words that take more than two lines of what a label may have in all, if it is not cut short here, as this one must be at the latest now, since there is no third line for it";
    let svg = bars(&["short", long, words]).draw().alone();
    // Three in the legend, two parts with values of each bar, the paper.
    assert_eq!(count(&svg, "rect"), 3 + 6 + 1);
    assert_eq!(svg.matches('\u{2026}').count(), 2, "{svg}");
    assert!(svg.contains(">a &lt; b</text>") && svg.contains("prefers-color-scheme:dark"));
}

#[test]
fn lines_take_ticks_from_their_values() {
    let line = |name: &str, points: &[(f64, f64)]| Line {
        name: name.to_owned(),
        points: points.to_vec(),
    };
    let lines = Lines {
        title: "t".to_owned(),
        x_name: "workers".to_owned(),
        y_name: "GFLOP/s".to_owned(),
        unit: Unit::Number,
        lines: vec![
            line("one", &[(1.0, 2.0), (4.0, 7.0), (64.0, 60.0)]),
            line("two", &[(1.0, 3.0)]),
        ],
        in_proportion: true,
    };
    let svg = lines.draw().within();
    assert_eq!(count(&svg, "circle"), 4);
    for tick in [">1<", ">4<", ">64<"] {
        assert!(svg.contains(tick), "{tick}");
    }
}

#[test]
fn many_pairs_share_cells() {
    let heat = |workers: u32| Heat {
        title: "pairs".to_owned(),
        row_name: "giver".to_owned(),
        column_name: "receiver".to_owned(),
        ids: (0..workers).collect(),
        values: (0..workers as usize).map(|at| (at, 0, 1024.0)).collect(),
    };
    // Five of the scale.
    assert_eq!(count(&heat(8).draw().within(), "rect"), 8 + 5);
    let svg = heat(200).draw().within();
    assert_eq!(count(&svg, "rect"), 50 + 5);
    assert!(
        svg.contains("giver 196 to 199 to receiver 0 to 3: 4 KiB"),
        "{svg}"
    );
}

#[test]
fn near_spans_of_one_colour_are_one() {
    let span = |series, begin: f64| Span {
        series,
        begin,
        end: begin + 1e-5,
    };
    let spans = Spans {
        title: "t".to_owned(),
        series: vec!["a".to_owned(), "b".to_owned()],
        end: 1.0,
        marks: vec![("factor".to_owned(), 0.0), ("q".to_owned(), 0.01)],
        lanes: vec![Lane {
            group: "worker 0".to_owned(),
            is_thin: false,
            spans: vec![span(0, 0.0), span(0, 1e-4), span(1, 0.5), span(0, 0.9)],
        }],
    };
    let svg = spans.draw().within();
    let drawn = |class: &str| {
        let paths = svg
            .lines()
            .filter(|line| line.contains(&format!("class=\"{class}\"/>")));
        paths.map(|line| line.matches('M').count()).sum::<usize>()
    };
    assert_eq!((drawn("f0"), drawn("f1")), (2, 1), "{svg}");
    assert!(
        svg.contains(">factor<") && !svg.contains(">q<"),
        "it would cover the first"
    );
}

#[test]
fn ticks_are_named_by_their_unit() {
    let table = [
        (Unit::Seconds, 0.02, "20 ms"),
        (Unit::Seconds, 20.0, "20 s"),
        (Unit::Times, 0.30000000000000004, "0.3x"),
        (Unit::Count, 12_000.0, "12,000"),
        (Unit::Bytes(1 << 20), 1.5 * 1048576.0, "1.50 MiB"),
        (Unit::Dollars, 0.5, "$0.5"),
        (Unit::Number, 1e-9, "1.0e-9"),
    ];
    for (unit, value, text) in table {
        assert_eq!(unit.tick(value), text);
    }
    let table = [
        (Unit::Times, 12.3456, "12.3x"),
        (Unit::Number, 96_912.4, "96,912"),
        (Unit::Dollars, 4.3, "$4.30"),
        (Unit::Dollars, 0.012345, "$0.0123"),
        (Unit::Number, 0.0, "0"),
    ];
    for (unit, value, text) in table {
        assert_eq!(unit.value(value), text);
    }
}

proptest! {
    #[test]
    fn an_axis_reaches_its_values_in_few_ticks(most in 1e-9_f64..1e15) {
        for unit in [Unit::Number, Unit::Count, Unit::of_bytes(most), Unit::Seconds] {
            let axis = Axis::up_to(most, unit);
            let ticks: Vec<f64> = axis.ticks().collect();
            prop_assert!(axis.end() >= most * 0.999_99, "{unit:?}");
            prop_assert!((2..=12).contains(&ticks.len()), "{unit:?}: {ticks:?}");
            prop_assert!((ticks[ticks.len() - 1] / axis.end() - 1.0).abs() < 1e-6);
        }
    }
}
