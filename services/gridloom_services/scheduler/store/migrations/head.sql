CREATE TABLE access_audit (
	sequence INTEGER NOT NULL,
	id VARCHAR(64) NOT NULL,
	at_us BIGINT NOT NULL,
	service TEXT NOT NULL,
	action TEXT NOT NULL,
	actor TEXT NOT NULL,
	actor_kind TEXT NOT NULL,
	key_id TEXT NOT NULL,
	origin TEXT NOT NULL,
	project TEXT NOT NULL,
	objects TEXT NOT NULL,
	object_count INTEGER NOT NULL,
	result TEXT NOT NULL,
	detail TEXT NOT NULL,
	request_id TEXT NOT NULL,
	PRIMARY KEY (sequence),
	UNIQUE (id)
);
CREATE INDEX access_audit_at ON access_audit (at_us);
CREATE TABLE access_keys (
	id VARCHAR(64) NOT NULL,
	digest BLOB NOT NULL,
	owner TEXT NOT NULL,
	project TEXT NOT NULL,
	role SMALLINT NOT NULL,
	description TEXT NOT NULL,
	created_us BIGINT NOT NULL,
	created_by TEXT NOT NULL,
	expires_us BIGINT,
	revoked_us BIGINT,
	revoked_by TEXT NOT NULL,
	used_us BIGINT,
	is_bootstrap BOOLEAN NOT NULL,
	PRIMARY KEY (id)
);
CREATE TABLE access_members (
	project TEXT NOT NULL,
	user TEXT NOT NULL,
	role SMALLINT NOT NULL,
	added_us BIGINT NOT NULL,
	added_by TEXT NOT NULL,
	PRIMARY KEY (project, user)
);
CREATE TABLE gang_ends (
	sequence BIGINT NOT NULL,
	element INTEGER NOT NULL,
	attempt INTEGER NOT NULL,
	state SMALLINT NOT NULL,
	failure_class SMALLINT NOT NULL,
	exit_code INTEGER NOT NULL,
	signal INTEGER NOT NULL,
	reason TEXT NOT NULL,
	queued_us BIGINT NOT NULL,
	started_us BIGINT,
	ended_us BIGINT NOT NULL,
	cpu_seconds DOUBLE NOT NULL,
	peak_memory_bytes BIGINT NOT NULL,
	replicas TEXT NOT NULL,
	outputs TEXT NOT NULL,
	PRIMARY KEY (sequence, element, attempt)
);
CREATE TABLE gang_streams (
	gang VARCHAR(64) NOT NULL,
	name VARCHAR(255) NOT NULL,
	digest TEXT NOT NULL,
	size_bytes BIGINT NOT NULL,
	gap_first BIGINT NOT NULL,
	gap_end BIGINT NOT NULL,
	PRIMARY KEY (gang, name)
);
CREATE TABLE gangs (
	sequence BIGINT NOT NULL,
	element INTEGER NOT NULL,
	name TEXT NOT NULL,
	job_id VARCHAR(64) NOT NULL,
	attempt INTEGER NOT NULL,
	placement TEXT NOT NULL,
	starting_us BIGINT NOT NULL,
	stop TEXT NOT NULL,
	leaving TEXT NOT NULL,
	elastic TEXT NOT NULL,
	PRIMARY KEY (sequence, element)
);
CREATE TABLE job_events (
	revision INTEGER NOT NULL,
	sequence BIGINT NOT NULL,
	job_id VARCHAR(64) NOT NULL,
	at_us BIGINT NOT NULL,
	"before" SMALLINT,
	"after" SMALLINT NOT NULL,
	attempt INTEGER NOT NULL,
	reason TEXT NOT NULL,
	element INTEGER,
	elements INTEGER NOT NULL,
	PRIMARY KEY (revision)
);
CREATE INDEX job_events_sequence ON job_events (sequence, revision);
CREATE TABLE job_labels (
	"key" TEXT NOT NULL,
	sequence BIGINT NOT NULL,
	value TEXT NOT NULL,
	PRIMARY KEY ("key", sequence)
);
CREATE INDEX job_labels_value ON job_labels ("key", value, sequence);
CREATE TABLE job_leavings (
	id VARCHAR(64) NOT NULL,
	PRIMARY KEY (id)
);
CREATE TABLE job_promises (
	job_id VARCHAR(64) NOT NULL,
	element INTEGER NOT NULL,
	start_s BIGINT NOT NULL,
	placement TEXT NOT NULL,
	PRIMARY KEY (job_id, element)
);
CREATE TABLE job_queues (
	project TEXT NOT NULL,
	name TEXT NOT NULL,
	quota TEXT NOT NULL,
	default_time_limit_s BIGINT NOT NULL,
	max_time_limit_s BIGINT NOT NULL,
	closed BOOLEAN NOT NULL,
	priority INTEGER NOT NULL,
	description TEXT NOT NULL,
	PRIMARY KEY (project, name)
);
CREATE TABLE job_tries (
	sequence BIGINT NOT NULL,
	element INTEGER NOT NULL,
	attempts INTEGER NOT NULL,
	used TEXT NOT NULL,
	not_before_us BIGINT NOT NULL,
	memory_factor BIGINT NOT NULL,
	PRIMARY KEY (sequence, element)
);
CREATE TABLE jobs (
	sequence INTEGER NOT NULL,
	id VARCHAR(64) NOT NULL,
	project TEXT NOT NULL,
	queue TEXT NOT NULL,
	owner TEXT NOT NULL,
	kind TEXT NOT NULL,
	request_id TEXT NOT NULL,
	state SMALLINT NOT NULL,
	revision BIGINT NOT NULL,
	attempt INTEGER NOT NULL,
	submitted_us BIGINT NOT NULL,
	queued_us BIGINT,
	started_us BIGINT,
	ended_us BIGINT,
	reason TEXT NOT NULL,
	failure_class SMALLINT NOT NULL,
	exit_code INTEGER NOT NULL,
	signal INTEGER NOT NULL,
	cpu_seconds DOUBLE NOT NULL,
	peak_memory_bytes BIGINT NOT NULL,
	time_limit_s BIGINT NOT NULL,
	retry_of VARCHAR(64) NOT NULL,
	runs TEXT NOT NULL,
	sizes TEXT NOT NULL,
	spec TEXT NOT NULL,
	PRIMARY KEY (sequence),
	UNIQUE (id)
);
CREATE INDEX jobs_ended ON jobs (ended_us);
CREATE INDEX jobs_live ON jobs (state, sequence) WHERE state < 5;
CREATE UNIQUE INDEX jobs_request ON jobs (project, request_id) WHERE request_id <> '';
CREATE TABLE scheduler_facts (
	name VARCHAR(64) NOT NULL,
	value BIGINT NOT NULL,
	PRIMARY KEY (name)
);
CREATE TABLE gridloom_scheduler_version (version_num VARCHAR(32) NOT NULL, CONSTRAINT gridloom_scheduler_version_pkc PRIMARY KEY (version_num));
INSERT INTO gridloom_scheduler_version VALUES ('0004')
