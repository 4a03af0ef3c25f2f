CREATE TABLE call_attempts (
	block BIGINT NOT NULL,
	position BIGINT NOT NULL,
	errors INTEGER NOT NULL,
	deaths INTEGER NOT NULL,
	timeouts INTEGER NOT NULL,
	out_of_memory INTEGER NOT NULL,
	isolated SMALLINT NOT NULL,
	begun SMALLINT NOT NULL,
	not_before DOUBLE NOT NULL,
	PRIMARY KEY (block, position)
);
CREATE TABLE call_blocks (
	id INTEGER NOT NULL,
	spec BIGINT NOT NULL,
	calls INTEGER NOT NULL,
	items BIGINT NOT NULL,
	needs INTEGER NOT NULL,
	grp_offset BIGINT NOT NULL,
	accepted_at DOUBLE NOT NULL,
	arguments BLOB NOT NULL,
	PRIMARY KEY (id)
);
CREATE INDEX call_blocks_waiting ON call_blocks (id) WHERE needs > 0;
CREATE TABLE call_dependencies (
	block BIGINT NOT NULL,
	position INTEGER NOT NULL,
	upstream BIGINT NOT NULL,
	PRIMARY KEY (block, position)
);
CREATE TABLE call_events (
	id INTEGER NOT NULL,
	call BIGINT NOT NULL,
	grp BIGINT,
	at DOUBLE NOT NULL,
	item BIGINT NOT NULL,
	attempt INTEGER NOT NULL,
	reason TEXT NOT NULL,
	PRIMARY KEY (id)
);
CREATE INDEX call_events_call ON call_events (call, id);
CREATE INDEX call_events_group ON call_events (grp, id) WHERE grp IS NOT NULL;
CREATE TABLE call_functions (
	digest BLOB NOT NULL,
	name TEXT NOT NULL,
	python TEXT NOT NULL,
	bundle_digest TEXT NOT NULL,
	bundle_bytes BIGINT NOT NULL,
	stored_at DOUBLE NOT NULL,
	code BLOB NOT NULL,
	PRIMARY KEY (digest)
);
CREATE TABLE call_groups (
	id INTEGER NOT NULL,
	name TEXT NOT NULL,
	kind TEXT NOT NULL,
	project TEXT NOT NULL,
	function TEXT NOT NULL,
	accepted BIGINT NOT NULL,
	succeeded BIGINT NOT NULL,
	failed BIGINT NOT NULL,
	cancelled BIGINT NOT NULL,
	sealed SMALLINT NOT NULL,
	created_at DOUBLE NOT NULL,
	ended_at DOUBLE,
	PRIMARY KEY (id)
);
CREATE INDEX call_groups_newest ON call_groups (project, created_at, id);
CREATE TABLE call_holds (
	id INTEGER NOT NULL,
	call BIGINT NOT NULL,
	holder TEXT NOT NULL,
	digests TEXT NOT NULL,
	PRIMARY KEY (id)
);
CREATE INDEX call_holds_call ON call_holds (call);
CREATE TABLE call_outputs (
	id INTEGER NOT NULL,
	call BIGINT NOT NULL,
	grp BIGINT,
	item BIGINT NOT NULL,
	stream SMALLINT NOT NULL,
	data BLOB NOT NULL,
	PRIMARY KEY (id)
);
CREATE INDEX call_outputs_call ON call_outputs (call, id);
CREATE INDEX call_outputs_group ON call_outputs (grp, id) WHERE grp IS NOT NULL;
CREATE TABLE call_progress (
	block INTEGER NOT NULL,
	done BLOB NOT NULL,
	PRIMARY KEY (block)
);
CREATE TABLE call_results (
	id INTEGER NOT NULL,
	first BIGINT NOT NULL,
	calls INTEGER NOT NULL,
	item BIGINT NOT NULL,
	items BIGINT NOT NULL,
	statuses BLOB NOT NULL,
	grp BIGINT,
	grp_offset BIGINT NOT NULL,
	ended_at DOUBLE NOT NULL,
	data BLOB NOT NULL,
	accepted_at DOUBLE DEFAULT 0 NOT NULL,
	PRIMARY KEY (id)
);
CREATE INDEX call_results_first ON call_results (first);
CREATE INDEX call_results_group ON call_results (grp, id) WHERE grp IS NOT NULL;
CREATE TABLE call_sessions (
	number INTEGER NOT NULL,
	"key" BLOB NOT NULL,
	name TEXT NOT NULL,
	project TEXT NOT NULL,
	owner TEXT NOT NULL,
	python TEXT NOT NULL,
	last_sequence BIGINT NOT NULL,
	result_number BIGINT NOT NULL,
	confirmed BIGINT NOT NULL,
	created_at DOUBLE NOT NULL,
	seen_at DOUBLE NOT NULL,
	PRIMARY KEY (number),
	UNIQUE ("key"),
	UNIQUE (name)
);
CREATE TABLE call_specs (
	session BIGINT NOT NULL,
	number BIGINT NOT NULL,
	function BLOB NOT NULL,
	pool_id TEXT NOT NULL,
	grp BIGINT NOT NULL,
	options TEXT NOT NULL,
	PRIMARY KEY (session, number)
);
CREATE TABLE pool_events (
	id INTEGER NOT NULL,
	pool TEXT NOT NULL,
	at DOUBLE NOT NULL,
	state SMALLINT NOT NULL,
	job_id TEXT NOT NULL,
	reason TEXT NOT NULL,
	PRIMARY KEY (id)
);
CREATE INDEX pool_events_pool ON pool_events (pool, id);
CREATE TABLE pools (
	id TEXT NOT NULL,
	"key" TEXT NOT NULL,
	project TEXT NOT NULL,
	owner TEXT NOT NULL,
	request_id TEXT NOT NULL,
	body BLOB NOT NULL,
	state SMALLINT NOT NULL,
	job_id TEXT NOT NULL,
	generation INTEGER NOT NULL,
	created_at DOUBLE NOT NULL,
	reason TEXT NOT NULL,
	refusal TEXT DEFAULT '' NOT NULL,
	PRIMARY KEY (id)
);
CREATE TABLE gridloom_functions_version (version_num VARCHAR(32) NOT NULL, CONSTRAINT gridloom_functions_version_pkc PRIMARY KEY (version_num));
INSERT INTO gridloom_functions_version VALUES ('0002')
