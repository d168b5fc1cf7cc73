//! The objects of the server: s3s's file system, with what it lacks beside S3.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;

/// Objects in a folder. Clones are the same.
#[derive(Clone)]
pub(super) struct Files(Arc<Inner>);

struct Inner {
    root: PathBuf,
    files: FileSystem,
    /// The file system looks and then writes: only one may do so at a time.
    writing: tokio::sync::Mutex<()>,
    /// Uploads that are under way: their id, bucket and key.
    uploads: Mutex<BTreeMap<String, (String, String)>>,
}

impl Files {
    pub(super) fn new(root: &Path) -> Self {
        Self(Arc::new(Inner {
            root: root.to_owned(),
            files: FileSystem::new(root).expect("the folder of the server is there"),
            writing: tokio::sync::Mutex::default(),
            uploads: Mutex::default(),
        }))
    }

    pub(super) fn uploads(&self) -> Vec<String> {
        self.under_way()
            .values()
            .map(|(_, key)| key.clone())
            .collect()
    }

    fn under_way(&self) -> MutexGuard<'_, BTreeMap<String, (String, String)>> {
        self.0
            .uploads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn bucket(&self, bucket: &str) -> S3Result<PathBuf> {
        let folder = self.0.root.join(bucket);
        if folder.is_dir() {
            Ok(folder)
        } else {
            Err(s3_error!(
                NoSuchBucket,
                "The specified bucket does not exist"
            ))
        }
    }

    /// Whether a key is only what other keys start with; the file system takes it for an object.
    fn is_folder(&self, bucket: &str, key: &str) -> S3Result<bool> {
        Ok(self.bucket(bucket)?.join(key).is_dir())
    }
}

#[async_trait]
impl S3 for Files {
    async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        if self.is_folder(&request.input.bucket, &request.input.key)? {
            return Err(s3_error!(NoSuchKey));
        }
        self.0.files.get_object(request).await
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        self.0.files.head_object(request).await
    }

    async fn put_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        self.bucket(&request.input.bucket)?;
        let _alone = self.0.writing.lock().await;
        self.0.files.put_object(request).await
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.0.files.list_objects_v2(request).await
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        if self.is_folder(&request.input.bucket, &request.input.key)? {
            return Ok(S3Response::new(DeleteObjectOutput::default()));
        }
        self.0.files.delete_object(request).await
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        self.0.files.delete_objects(request).await
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let names = (request.input.bucket.clone(), request.input.key.clone());
        self.bucket(&names.0)?;
        let answer = self.0.files.create_multipart_upload(request).await?;
        if let Some(id) = &answer.output.upload_id {
            self.under_way().insert(id.clone(), names);
        }
        Ok(answer)
    }

    async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        self.0.files.upload_part(request).await
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let id = request.input.upload_id.clone();
        if !self.under_way().contains_key(&id) {
            return Err(s3_error!(NoSuchUpload));
        }
        let _alone = self.0.writing.lock().await;
        let answer = self.0.files.complete_multipart_upload(request).await?;
        self.under_way().remove(&id);
        Ok(answer)
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let id = request.input.upload_id.clone();
        if self.under_way().remove(&id).is_none() {
            return Err(s3_error!(NoSuchUpload));
        }
        self.0.files.abort_multipart_upload(request).await
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let input = request.input;
        let prefix = input.prefix.unwrap_or_default();
        let under_way = self.under_way();
        let uploads = under_way
            .iter()
            .filter(|(_, (bucket, key))| *bucket == input.bucket && key.starts_with(&prefix));
        let uploads = uploads.map(|(id, (_, key))| MultipartUpload {
            key: Some(key.clone()),
            upload_id: Some(id.clone()),
            ..MultipartUpload::default()
        });
        let uploads = uploads.collect();
        Ok(S3Response::new(ListMultipartUploadsOutput {
            uploads: Some(uploads),
            is_truncated: Some(false),
            ..ListMultipartUploadsOutput::default()
        }))
    }
}
