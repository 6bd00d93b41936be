//! The picture of the examples: well formed, escaped, the same each time, whatever the data.

#[path = "../examples/support/svg.rs"]
mod svg;

use svg::{Bars, Lines, Panel, Series, figure};

/// Two curves and three bars, as `examples/finetune.rs` draws them.
fn picture(noise: impl Fn(u32) -> f64) -> String {
    let curve = |from: f64, to: f64| {
        (0..400)
            .map(|i| {
                let x = f64::from(i);
                (x, to + (from - to) * (-x / 60.0).exp() * noise(i))
            })
            .collect()
    };
    figure(
        "Digits, mirrored: rank 4 & a frozen base",
        &[
            Panel::Lines(Lines {
                title: "Training loss".into(),
                x_label: "step".into(),
                y_label: "cross-entropy".into(),
                log_y: true,
                series: vec![
                    Series {
                        name: "pretraining".into(),
                        points: curve(2.3, 0.004),
                        smooth: 8,
                    },
                    Series {
                        name: "LoRA".into(),
                        points: curve(5.1, 0.02),
                        smooth: 8,
                    },
                ],
            }),
            Panel::Bars(Bars {
                title: "Accuracy on images never seen".into(),
                y_label: "accuracy".into(),
                bars: vec![
                    ("base,\noriginal".into(), 0.9778, 5),
                    ("before,\nmirrored".into(), 0.43, 1),
                    ("after,\nmirrored".into(), 0.9694, 0),
                ],
                top: 1.0,
                percent: true,
            }),
        ],
    )
}

/// Asserts that every element is closed in order and that no bare `&` is left.
#[track_caller]
fn assert_well_formed(text: &str) {
    let mut open = Vec::new();
    for tag in text.split('<').skip(1) {
        let (tag, after) = tag.split_once('>').expect("a tag ends");
        assert!(!after.contains('>'), "a bare > in {after}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(tag.split(' ').next().unwrap());
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
    }
    assert!(open.is_empty(), "{open:?} stays open");
    for reference in text.split('&').skip(1) {
        let known = ["amp;", "lt;", "gt;", "quot;", "#39;"];
        assert!(
            known.iter().any(|k| reference.starts_with(k)),
            "{reference}"
        );
    }
    assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
}

#[test]
fn the_picture_is_well_formed_and_the_same_each_time() {
    let noise = |i: u32| 1.0 + 0.4 * f64::from(i * 7919 % 101) / 101.0;
    let text = picture(noise);
    assert_well_formed(&text);
    assert_eq!(text, picture(noise));
    assert!(text.contains(">Digits, mirrored: rank 4 &amp; a frozen base</text>"));
    for words in [
        "97.8 %",
        "43.0 %",
        "96.9 %",
        "pretraining",
        "LoRA",
        "mirrored",
    ] {
        assert!(text.contains(words), "{words} is missing");
    }
}

#[test]
fn text_is_escaped() {
    let text = figure("<a & \"b\" 'c'>\u{0}\n", &[]);
    assert_well_formed(&text);
    assert!(
        text.contains("&lt;a &amp; &quot;b&quot; &#39;c&#39;&gt; <"),
        "{text}"
    );
}

#[test]
fn poor_data_give_a_picture_all_the_same() {
    let runs: [&[f64]; 8] = [
        &[],
        &[1.0],
        &[3.0, 3.0, 3.0],
        &[0.0, 0.0],
        &[-1.0, -2.0],
        &[f64::NAN, 1.0, f64::INFINITY, 0.1, 0.01],
        &[1e-300, 1e300],
        &[1e-9, 2e-9, 3e-9],
    ];
    for points in runs {
        for log_y in [false, true] {
            for smooth in [0, 3] {
                let points = points.iter().enumerate().map(|(i, &y)| (i as f64, y));
                let series = vec![Series {
                    name: String::new(),
                    points: points.collect(),
                    smooth,
                }];
                let lines = Lines {
                    log_y,
                    series,
                    ..Lines::default()
                };
                assert_well_formed(&figure("", &[Panel::Lines(lines)]));
            }
        }
    }
    for values in [&[][..], &[0.0], &[-1.0, 2.0], &[f64::NAN], &[5.0, 1e9]] {
        let bars = values.iter().map(|&v| ("x".to_string(), v, 9)).collect();
        let bars = Bars {
            bars,
            ..Bars::default()
        };
        assert_well_formed(&figure("", &[Panel::Bars(bars)]));
    }
}
