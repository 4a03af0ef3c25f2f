CREATE TABLE object_holds (
	holder TEXT NOT NULL,
	digest VARCHAR(71) NOT NULL,
	PRIMARY KEY (holder, digest)
);
CREATE INDEX object_holds_digest ON object_holds (digest);
CREATE TABLE objects (
	digest VARCHAR(71) NOT NULL,
	size_bytes BIGINT NOT NULL,
	created_s BIGINT NOT NULL,
	used_s BIGINT NOT NULL,
	content BLOB,
	PRIMARY KEY (digest)
);
CREATE INDEX objects_used ON objects (used_s);
CREATE TABLE gridloom_objects_version (version_num VARCHAR(32) NOT NULL, CONSTRAINT gridloom_objects_version_pkc PRIMARY KEY (version_num));
INSERT INTO gridloom_objects_version VALUES ('0001')
