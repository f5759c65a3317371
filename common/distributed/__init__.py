"""Several ranks as one job: communication, heartbeats, the watchdog, and how a rank leaves the job."""
