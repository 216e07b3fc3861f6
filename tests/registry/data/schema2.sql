PRAGMA application_id = 1668047219;
PRAGMA user_version = 2;
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
INSERT INTO "measurements" VALUES(1,1,'2026-11-26 21:13:07.485894');
INSERT INTO "measurements" VALUES(2,2,'2026-11-26 21:13:07.493512');
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
INSERT INTO "tasks" VALUES(1,'birds','birds','2026-11-26 21:13:07.474348',2,3);
INSERT INTO "tasks" VALUES(2,'rain','rain','2026-11-26 21:13:07.490495',1,2);
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
INSERT INTO "versions" VALUES(1,1,1,1,'lora:qv,r=6','["dog", "rain"]','1e10a409107fe0c6007b65638c533251fc7e73c3fdf754341e5bc01a237f3b0e',1192,64,0.9,7,1.5,'{"folder": "clips", "fold": 5}','dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd','fold 5','{"torch": "2.11.0"}','2026-11-26 21:13:07.474348','{"epochs": 20, "learning_rate": 0.001, "stopped": null}');
INSERT INTO "versions" VALUES(2,2,1,1,'lora:qv,r=6','["dog", "rain"]','ab8860966844decc2a9cceb6bd20d36b81ba0ffebc2b2b760812489448a7912f',1192,64,0.9,7,1.5,'{"folder": "clips", "fold": 5}','dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd','fold 5','{"torch": "2.11.0"}','2026-11-26 21:13:07.490495','{"epochs": 20, "learning_rate": 0.001, "stopped": null}');
INSERT INTO "versions" VALUES(3,1,2,1,'lora:qv,r=6','["owl", "wren"]','e921bb0837495f640aed5b2ee2cd2d8d310c93ad14a7d30d81ffd066579039da',1192,64,0.9,7,1.5,'{"folder": "clips", "fold": 5}','dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd','fold 5','{"torch": "2.11.0"}','2026-11-26 21:13:07.496488','{"epochs": 20, "learning_rate": 0.001, "stopped": null}');
CREATE INDEX ix_measurements_after_version_id ON measurements (after_version_id);
CREATE INDEX ix_accuracies_version_id ON accuracies (version_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('tasks',2);
INSERT INTO "sqlite_sequence" VALUES('versions',3);
INSERT INTO "sqlite_sequence" VALUES('measurements',2);
INSERT INTO "sqlite_sequence" VALUES('accuracies',2);
COMMIT;
