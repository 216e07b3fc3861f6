PRAGMA application_id = 1668047219;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE accuracies (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	measurement_id INTEGER NOT NULL, 
	version_id INTEGER NOT NULL, 
	mode VARCHAR NOT NULL, 
	accuracy DOUBLE NOT NULL, 
	clips INTEGER NOT NULL, 
	routed JSON NOT NULL, 
	UNIQUE (measurement_id, version_id, mode), 
	CONSTRAINT mode_known CHECK (mode IN ('oracle', 'auto')), 
	CONSTRAINT accuracy_fraction CHECK (accuracy BETWEEN 0 AND 1), 
	CONSTRAINT clips_counted CHECK (clips >= 0), 
	FOREIGN KEY(measurement_id) REFERENCES measurements (id) ON DELETE CASCADE, 
	FOREIGN KEY(version_id) REFERENCES versions (id) ON DELETE CASCADE
);
INSERT INTO "accuracies" VALUES(1,1,1,'oracle',0.5,4,'{}');
INSERT INTO "accuracies" VALUES(2,2,1,'auto',0.25,4,'{"2": 3, "1": 1}');
CREATE TABLE backbone (
	id INTEGER NOT NULL, 
	name VARCHAR NOT NULL, 
	fingerprint VARCHAR NOT NULL, 
	parameters INTEGER NOT NULL, 
	bytes INTEGER NOT NULL, 
	background BLOB NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT one_backbone CHECK (id = 1)
);
INSERT INTO "backbone" VALUES(1,'ast-mini','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',1000000,4000000,X'636F6E7374616E7473');
CREATE TABLE measurements (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	after_version_id INTEGER, 
	created DATETIME NOT NULL, 
	FOREIGN KEY(after_version_id) REFERENCES versions (id) ON DELETE SET NULL
);
INSERT INTO "measurements" VALUES(1,1,'2026-11-21 02:55:00.210168');
INSERT INTO "measurements" VALUES(2,2,'2026-11-21 02:55:00.261272');
CREATE TABLE tasks (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	name VARCHAR NOT NULL, 
	"key" VARCHAR NOT NULL, 
	created DATETIME NOT NULL, 
	last_number INTEGER NOT NULL, 
	current_version_id INTEGER NOT NULL, 
	UNIQUE ("key"), 
	UNIQUE (current_version_id), 
	CONSTRAINT current FOREIGN KEY(current_version_id) REFERENCES versions (id) DEFERRABLE INITIALLY DEFERRED
);
INSERT INTO "tasks" VALUES(1,'birds','birds','2026-11-21 02:55:00.201609',2,3);
INSERT INTO "tasks" VALUES(2,'rain','rain','2026-11-21 02:55:00.243562',1,2);
CREATE TABLE versions (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	task_id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	backbone_id INTEGER NOT NULL, 
	method VARCHAR NOT NULL, 
	labels JSON NOT NULL, 
	adapter_sha256 VARCHAR(64) NOT NULL, 
	adapter_bytes INTEGER NOT NULL, 
	trainable_parameters INTEGER NOT NULL, 
	learned_accuracy DOUBLE, 
	seed INTEGER NOT NULL, 
	seconds DOUBLE NOT NULL, 
	source JSON NOT NULL, 
	data_fingerprint VARCHAR NOT NULL, 
	protocol VARCHAR NOT NULL, 
	packages JSON NOT NULL, 
	created DATETIME NOT NULL, 
	UNIQUE (task_id, number), 
	CONSTRAINT number_from_one CHECK (number > 0), 
	CONSTRAINT sha256_length CHECK (length(adapter_sha256) = 64), 
	FOREIGN KEY(task_id) REFERENCES tasks (id) ON DELETE CASCADE, 
	FOREIGN KEY(backbone_id) REFERENCES backbone (id), 
	UNIQUE (adapter_sha256)
);
INSERT INTO "versions" VALUES(1,1,1,1,'lora:qv,r=6','["dog", "rain"]','e22b2fdb5504b67dd3b99046129a6822e936bbfbeea050e6ade437e0f3bcaed8',1120,64,0.9,7,1.5,'{"folder": "clips", "fold": 5}','dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd','fold 5','{"torch": "2.11.0"}','2026-11-21 02:55:00.201609');
INSERT INTO "versions" VALUES(2,2,1,1,'lora:qv,r=6','["dog", "rain"]','6d384903ac42368134fda4abca016ca8e575fce5fd822282bc8862d2e97248fc',1120,64,0.9,7,1.5,'{"folder": "clips", "fold": 5}','dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd','fold 5','{"torch": "2.11.0"}','2026-11-21 02:55:00.243562');
INSERT INTO "versions" VALUES(3,1,2,1,'lora:qv,r=6','["owl", "wren"]','ab348d46738ea79faba080affeaa3e915589d4a37f6cadbae4b88ab407bc22d8',1120,64,0.9,7,1.5,'{"folder": "clips", "fold": 5}','dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd','fold 5','{"torch": "2.11.0"}','2026-11-21 02:55:00.284342');
CREATE INDEX ix_measurements_after_version_id ON measurements (after_version_id);
CREATE INDEX ix_accuracies_version_id ON accuracies (version_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('tasks',2);
INSERT INTO "sqlite_sequence" VALUES('versions',3);
INSERT INTO "sqlite_sequence" VALUES('measurements',2);
INSERT INTO "sqlite_sequence" VALUES('accuracies',2);
COMMIT;
