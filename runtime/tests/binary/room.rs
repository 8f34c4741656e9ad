//! Room: for workers that come and go, and for what those have said that have ended.

use super::*;

const ASSISTANT: &str = r#"{"intent":{"kind":"assistant"},"profile":{"kind":"runtime_default"}}"#;

/// How much memory a process has in use, in MiB.
fn memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() / 1024
}

#[test]
fn workers_come_and_go_for_as_long_as_one_likes() {
    let server = Server::start(&[&TCP[..], &["--profile", "sleep=sleep 1000"]].concat());
    let live = |count: usize| {
        for _ in 0..count {
            let worker_id = server.create();
            let (status, answer) = server.ask(&format!("POST /v1/workers/{worker_id}/cancel"), "", "");
            assert_eq!(status, 200, "{answer}");
        }
    };
    std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(|| live(1050)))));
    until("the end of all", || {
        server.ask("GET /v1/runtime", "", "").1["runtime"]["active_worker_count"] == 0
    });
    let (_, summary) = server.ask("GET /v1/runtime", "", "");
    assert_eq!(summary["runtime"]["cancelled_worker_count"], 1000, "the newest thousand are kept");
    assert!(server.marked().is_empty());
}

#[test]
fn a_full_runtime_says_so_and_for_how_long() {
    let server = Server::start(&[&TCP[..], &["--profile", "sleep=sleep 1000"]].concat());
    let workers: Vec<String> = (0..128).map(|_| server.create()).collect();
    let (status, head, body) = exchange(server.connect(), "POST /v1/workers", "", ASSISTANT);
    assert!(status == 503 && head.contains("retry-after: 1") && body.contains("runtime_full"), "{body}");
    server.ask(&format!("POST /v1/workers/{}/cancel", workers[7]), "", "");
    until("room", || server.ask("POST /v1/workers", "", ASSISTANT).0 == 200);
}

#[test]
fn what_ended_workers_said_is_bounded_together() {
    let script = "long=sh -c 'head -c 15000000 /dev/zero | tr \"\\\\0\" x | fold -w 4000'";
    let server = Server::start(&[&TCP[..], &["--profile", script]].concat());
    let ended = |worker_id: &str| {
        let (_, answer) = server.ask(&format!("GET /v1/workers/{worker_id}"), "", "");
        answer["worker"]["end"].is_object().then_some(answer["worker"]["transcript_len"].as_u64().unwrap())
    };
    let mut most = 0;
    let mut workers: Vec<(String, u64)> = Vec::new();
    while workers.len() < 30 {
        // Several at once, as many as there may be processors to run them.
        let names: Vec<String> = (0..3).map(|_| server.create()).collect();
        for name in names {
            until("the end", || {
                most = most.max(memory(server.process.id()));
                ended(&name).is_some()
            });
            let length = ended(&name).unwrap();
            // A line that was read in two pieces is two items.
            assert!((3_751..4_000).contains(&length), "{length}");
            workers.push((name, length));
        }
    }
    println!("at most {most} MiB");
    assert!((64..256).contains(&most), "{most} MiB");
    // The newest is there whole; of the oldest at least its end is.
    let page = |worker_id: &str, start: u64| {
        let path = format!("GET /v1/workers/{worker_id}/transcript?start={start}&limit=1");
        server.ask(&path, "", "").1["transcript"]["items"][0].clone()
    };
    assert_eq!(page(&workers[29].0, 0)["sequence"], 1);
    let (oldest, length) = &workers[0];
    assert_eq!(page(oldest, 0)["sequence"], *length);
    assert_eq!(page(oldest, length - 1)["content"], "exited with status 0");
}

#[test]
fn a_name_from_before_a_restart_is_no_worker() {
    let mut before = Server::start(&[&TCP[..], &["--profile", "shell=sh"]].concat());
    let names: Vec<String> = (0..5).map(|_| before.create()).collect();
    before.end(Signal::TERM);
    let after = Server::start(&[&TCP[..], &["--profile", "shell=sh"]].concat());
    for _ in 0..20 {
        assert!(!names.contains(&after.create()));
    }
    for name in names {
        let (status, answer) = after.ask(&format!("GET /v1/workers/{name}"), "", "");
        assert_eq!((status, &answer["error"]["code"]), (404, &json!("worker_not_found")));
    }
}
