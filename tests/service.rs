//! The example `service`: children of different kinds serve one process.

mod common;

#[path = "../examples/service.rs"]
#[allow(dead_code, reason = "it is a program of its own")]
mod service;

#[test]
fn x1_requests_are_served_by_children_of_different_kinds() {
    let _watchdog = common::watchdog("x1");
    let mut requests = service::some_requests(100);
    requests.push("sing".to_owned());
    let (answers, replaced) = service::run(&requests, false).unwrap();
    assert_eq!(replaced, 0);
    assert_right(&requests, &answers);
}

#[test]
fn x1_a_killed_child_is_replaced_and_every_request_answered() {
    let _watchdog = common::watchdog("x1");
    let requests = service::some_requests(100);
    let (answers, replaced) = service::run(&requests, true).unwrap();
    assert_eq!(replaced, 1);
    assert_right(&requests, &answers);
}

fn assert_right(requests: &[String], answers: &[String]) {
    assert_eq!(requests.len(), answers.len());
    for (request, answer) in requests.iter().zip(answers) {
        let is_right = match request.split_once(' ') {
            Some(("factor", number)) => {
                let factors = answer.split(" x ").map(|factor| factor.parse::<u64>().unwrap());
                factors.product::<u64>() == number.parse().unwrap() && answer.contains('x')
            }
            Some((_, words)) => *answer == format!("{} words", words.split_whitespace().count()),
            None => answer == "nobody can do this",
        };
        assert!(is_right, "{request}: {answer}");
    }
}
