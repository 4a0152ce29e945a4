# gunicorn with threads: the connections from nginx stay open, nothing is logged.
bind = "unix:@dir@/socket"
worker_class = "gthread"
workers = @processes@
threads = @threads@
keepalive = 60
backlog = 2048
chdir = "@applications@"
loglevel = "warning"
accesslog = None
# The heartbeat file belongs into memory, says gunicorn's documentation.
worker_tmp_dir = "/dev/shm"
