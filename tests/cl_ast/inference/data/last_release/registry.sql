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
INSERT INTO "accuracies" VALUES(1,1,1,'oracle',1.0,4,'{}');
INSERT INTO "accuracies" VALUES(2,1,1,'auto',1.0,4,'{"1": 4}');
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
INSERT INTO "backbone" VALUES(1,'ast-mini','84b2a7801a99996ffc15934f6d250b1c0c0079844291b505220888c3bf40aca4',2469376,9877504,X'');
CREATE TABLE measurements (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	after_version_id INTEGER, 
	created DATETIME NOT NULL, 
	FOREIGN KEY(after_version_id) REFERENCES versions (id) ON DELETE SET NULL
);
INSERT INTO "measurements" VALUES(1,1,'2026-11-27 00:51:35.352670');
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
INSERT INTO "tasks" VALUES(1,'tones','tones','2026-11-27 00:51:35.339836',1,1);
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
INSERT INTO "versions" VALUES(1,1,1,1,'lora:q,r=1,s=8,from=2','["high", "low"]','0eab4f7b5de66050f22201838f1a2e75037eccc59405d14380e993439a3e6065',22220,512,1.0,0,1.60085321000224212184e-01,'{"task": "folder", "data": "/clips/tones", "name": "tones", "fold": null, "few_shot": null, "max_seconds": null, "seed": 0, "split_by": "auto"}','caf6c8c2d02d5f1ccc0bbe28ad78df0fc8b680757f214f84114e1d83da504464','a seeded draw, stratified by class: 70% train, 15% validate, 15% test (seed 0)','{"cl-ast": "0.1.0", "torch": "2.11.0", "transformers": "5.24.0", "numpy": "2.4.6"}','2026-11-27 00:51:35.339836');
CREATE INDEX ix_measurements_after_version_id ON measurements (after_version_id);
CREATE INDEX ix_accuracies_version_id ON accuracies (version_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('tasks',1);
INSERT INTO "sqlite_sequence" VALUES('versions',1);
INSERT INTO "sqlite_sequence" VALUES('measurements',1);
INSERT INTO "sqlite_sequence" VALUES('accuracies',2);
COMMIT;
