//! What the system knows of this process, under the names that Prometheus' own libraries use.

use procfs::WithCurrentSystemInfo;
use procfs::process::{LimitValue, Process as Procfs};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, IntGauge, Opts};

/// Read anew each time.
pub(crate) struct Process {
    cpu: prometheus::Counter,
    start: Gauge,
    open_fds: IntGauge,
    max_fds: IntGauge,
    resident: IntGauge,
    virtual_memory: IntGauge,
    threads: IntGauge,
}

impl Default for Process {
    fn default() -> Self {
        let gauge = |name: &str, help: &str| IntGauge::new(name, help).expect("names are constants");
        let cpu = Opts::new("process_cpu_seconds_total", "Time that the process has used of the processors.");
        let start = Opts::new("process_start_time_seconds", "When the process started, since 1970.");
        Self {
            cpu: prometheus::Counter::with_opts(cpu).expect("names are constants"),
            start: Gauge::with_opts(start).expect("names are constants"),
            open_fds: gauge("process_open_fds", "Open file descriptors."),
            max_fds: gauge("process_max_fds", "How many file descriptors may be open."),
            resident: gauge("process_resident_memory_bytes", "Memory of the process that is in RAM."),
            virtual_memory: gauge("process_virtual_memory_bytes", "Address space of the process."),
            threads: gauge("process_threads", "Threads of the process."),
        }
    }
}

impl Process {
    fn all(&self) -> [&dyn Collector; 7] {
        let Self { cpu, start, open_fds, max_fds, resident, virtual_memory, threads } = self;
        [cpu, start, open_fds, max_fds, resident, virtual_memory, threads]
    }

    /// What cannot be read stays as it is.
    fn read(&self) -> Option<()> {
        let process = Procfs::myself().ok()?;
        let limits = process.limits().ok();
        if let Some(LimitValue::Value(max)) = limits.map(|limits| limits.max_open_files.soft_limit) {
            self.max_fds.set(signed(max));
        }
        process.fd_count().into_iter().for_each(|count| self.open_fds.set(signed(count as u64)));
        let stat = process.stat().ok()?;
        self.virtual_memory.set(signed(stat.vsize));
        self.resident.set(signed(stat.rss_bytes().get()));
        self.threads.set(stat.num_threads);
        let ticks = procfs::ticks_per_second() as f64;
        let used = (stat.utime + stat.stime) as f64 / ticks;
        self.cpu.inc_by((used - self.cpu.get()).max(0.0));
        let boot = procfs::boot_time_secs().ok()? as f64;
        self.start.set(boot + stat.starttime as f64 / ticks);
        Some(())
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.all().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let _ = self.read();
        self.all().into_iter().flat_map(Collector::collect).collect()
    }
}
