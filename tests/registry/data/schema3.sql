PRAGMA application_id = 1668047219;
PRAGMA user_version = 3;
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
CREATE TABLE identity (
	id INTEGER NOT NULL, 
	registry_id VARCHAR(32) NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT one_identity CHECK (id = 1)
);
INSERT INTO "identity" VALUES(1,'a4a1e5e3776e54cdb9f713ded1cc416d');
CREATE TABLE last_change (
	id INTEGER NOT NULL, 
	kind VARCHAR NOT NULL, 
	what VARCHAR NOT NULL, 
	created DATETIME NOT NULL, 
	undo VARCHAR NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT one_change CHECK (id = 1)
);
CREATE TABLE measurements (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	after_version_id INTEGER, 
	created DATETIME NOT NULL, 
	FOREIGN KEY(after_version_id) REFERENCES versions (id) ON DELETE SET NULL
);
INSERT INTO "measurements" VALUES(1,1,'2026-11-27 01:05:01.112458');
INSERT INTO "measurements" VALUES(2,2,'2026-11-27 01:05:01.154785');
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
INSERT INTO "tasks" VALUES(1,'birds','birds','2026-11-27 01:05:01.091991',2,3);
INSERT INTO "tasks" VALUES(2,'rain','rain','2026-11-27 01:05:01.143220',1,2);
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
	training JSON DEFAULT '{}' NOT NULL, 
	UNIQUE (task_id, number), 
	CONSTRAINT number_from_one CHECK (number > 0), 
	CONSTRAINT sha256_length CHECK (length(adapter_sha256) = 64), 
	FOREIGN KEY(task_id) REFERENCES tasks (id) ON DELETE CASCADE, 
	FOREIGN KEY(backbone_id) REFERENCES backbone (id), 
	UNIQUE (adapter_sha256)
);
INSERT INTO "versions" VALUES(1,1,1,1,'lora:qv,r=6','["dog", "rain"]','84cf083118dddf0aa7860421e2b56f5d08549027b0492af5d4e08bfb96fc8e33',1192,64,0.9,7,1.5,'{"folder": "clips", "fold": 5}','dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd','fold 5','{"torch": "2.11.0"}','2026-11-27 01:05:01.091991','{"epochs": 20, "learning_rate": 0.001, "stopped": null}');
INSERT INTO "versions" VALUES(2,2,1,1,'lora:qv,r=6','["dog", "rain"]','5b4a40bfeeda6d195a759a09109440e1fb00cb61c82629e5e22fa9b978f1c4a1',1192,64,0.9,7,1.5,'{"folder": "clips", "fold": 5}','dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd','fold 5','{"torch": "2.11.0"}','2026-11-27 01:05:01.143220','{"epochs": 20, "learning_rate": 0.001, "stopped": null}');
INSERT INTO "versions" VALUES(3,1,2,1,'lora:qv,r=6','["owl", "wren"]','436946e6ae9035abbbc8981f469f84b74467f9a49cf6dbc4caa8df460d0a5931',1192,64,0.9,7,1.5,'{"folder": "clips", "fold": 5}','dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd','fold 5','{"torch": "2.11.0"}','2026-11-27 01:05:01.177680','{"epochs": 20, "learning_rate": 0.001, "stopped": null}');
CREATE INDEX ix_measurements_after_version_id ON measurements (after_version_id);
CREATE INDEX ix_accuracies_version_id ON accuracies (version_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('tasks',2);
INSERT INTO "sqlite_sequence" VALUES('versions',3);
INSERT INTO "sqlite_sequence" VALUES('measurements',2);
INSERT INTO "sqlite_sequence" VALUES('accuracies',2);
COMMIT;
